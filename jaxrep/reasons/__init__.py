"""Why a row does not fit: what the other columns let expect of each cell, and which do not fit.

A column is hidden from the network and predicted from the others. That needs a network with a
decoder that has been trained on hidden cells. How the cells of a row are weighed against each
other: `docs/anomalies.md`.
"""

from jaxrep.reasons._explain import Reasons as Reasons
from jaxrep.reasons._explain import explain as explain
from jaxrep.reasons._hidden import can_explain as can_explain
from jaxrep.reasons._statistics import fit as fit
from jaxrep.reasons._statistics import shapes as shapes
