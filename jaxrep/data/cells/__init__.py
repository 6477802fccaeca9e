"""What a cell means: a number, or the key of a category, whatever its Arrow type.

Text is first stripped of whitespace. A number, boolean or time has the same value in every spelling
and every Arrow type; a category has one key, so that True, TRUE and a boolean are one level, and so
are 1, 1.0 and "1".
"""

from ._categories import codes_of as codes_of
from ._categories import keys_of as keys_of
from ._categories import not_categories as not_categories
from ._categories import spelled as spelled
from ._keys import PLAIN as PLAIN
from ._keys import key_of_text as key_of_text
from ._keys import keys_of_texts as keys_of_texts
from ._levels import Levels as Levels
from ._missing import Missing as Missing
from ._missing import Numbers as Numbers
from ._missing import trimmed as trimmed
from ._missing import unmarked as unmarked
from ._missing import without_keys as without_keys
from ._missing import without_marks as without_marks
from ._numbers import check_booleans as check_booleans
from ._numbers import is_neither as is_neither
from ._numbers import not_of_kind as not_of_kind
from ._numbers import number_pattern as number_pattern
from ._numbers import numbers_of as numbers_of
from ._numbers import typed_numbers as typed_numbers
from ._place import Place as Place
from ._stored import to_stored as to_stored
