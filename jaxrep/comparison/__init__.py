"""How far made rows are from real ones: by column, by pair, by row, by what they teach."""

from ._columns import ColumnScore as ColumnScore
from ._columns import ks_complement as ks_complement
from ._columns import tv_complement as tv_complement
from ._compare import Comparison as Comparison
from ._compare import compare as compare
from ._pairs import PairScore as PairScore
from ._pairs import contingency_similarity as contingency_similarity
from ._pairs import correlation_similarity as correlation_similarity
from ._text import faults as faults
from ._text import measures as measures
from ._text import render as render
