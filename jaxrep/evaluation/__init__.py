"""What a representation is worth: probes, anomaly metrics, and the baselines they must beat."""

from ._anomalies import anomaly_baselines as anomaly_baselines
from ._anomalies import auroc as auroc
from ._anomalies import average_precision as average_precision
from ._anomalies import isolation_score as isolation_score
from ._anomalies import local_outlier_factor as local_outlier_factor
from ._anomalies import neighbour_distance as neighbour_distance
from ._columns import ColumnErrors as ColumnErrors
from ._columns import column_errors as column_errors
from ._columns import in_table_order as in_table_order
from ._columns import observed as observed
from ._disentanglement import mutual_information_gap as mutual_information_gap
from ._evaluate import evaluate as evaluate
from ._pca import fit_pca as fit_pca
from ._probes import fit_linear_probe as fit_linear_probe
from ._probes import fit_ridge_probe as fit_ridge_probe
from ._probes import knn_accuracy as knn_accuracy
from ._probes import knn_r2 as knn_r2
from ._probes import linear_probe as linear_probe
from ._probes import ridge_probe as ridge_probe
from ._probes import silhouette as silhouette
from ._raw_columns import RawColumns as RawColumns
from ._result_table import render as render
from ._results import Evaluation as Evaluation
from ._results import Result as Result
from ._splits import Split as Split
from ._splits import split as split
