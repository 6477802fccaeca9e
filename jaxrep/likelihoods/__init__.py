"""What a cell is worth to a decoder: the likelihoods of columns, a module each.

Each has `terms`, −log p of cells in nats, elementwise, and `expectation`, the mean that a decoder's
output stands for. Loss, score and the tables of the report are sums and means of these terms.
"""

from jaxrep.likelihoods import bernoulli as bernoulli
from jaxrep.likelihoods import categorical as categorical
from jaxrep.likelihoods import gaussian as gaussian
from jaxrep.likelihoods import poisson as poisson
from jaxrep.likelihoods import squared as squared
from jaxrep.likelihoods._rows import RowLikelihood as RowLikelihood
from jaxrep.likelihoods._rows import natural_numbers as natural_numbers
