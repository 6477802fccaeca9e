"""What a cell is worth to a decoder: the likelihoods of columns, a module each.

Each has `terms`, −log p of cells in nats, elementwise, and `expectation`, the mean that a decoder's
output stands for. Loss, score and the tables of the report are sums and means of these terms.
TorchScript compiles them.
"""

from torch_ref.likelihoods import bernoulli as bernoulli
from torch_ref.likelihoods import categorical as categorical
from torch_ref.likelihoods import gaussian as gaussian
from torch_ref.likelihoods import poisson as poisson
from torch_ref.likelihoods import squared as squared
from torch_ref.likelihoods._rows import RowLikelihood as RowLikelihood
