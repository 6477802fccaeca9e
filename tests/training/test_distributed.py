"""Which job a process belongs to, by the variables of launchers and by flags."""

import pytest

from jaxrep.errors import InputError
from jaxrep.training.distributed import initialize, run_on_main
from jaxrep.training.launcher import Flags, detect

pytestmark = pytest.mark.quick

SLURM = {
    "SLURM_JOB_ID": "4242",
    "SLURM_STEP_NODELIST": "node[001-004]",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "0",
}
OPEN_MPI = {
    "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1:34911",
    "OMPI_COMM_WORLD_SIZE": "2",
    "OMPI_COMM_WORLD_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
}


@pytest.mark.parametrize(
    ("environ", "flags", "expected"),
    [
        ({}, Flags(), ("none", 1, 0)),
        (SLURM, Flags(), ("slurm", 4, 3)),
        (OPEN_MPI, Flags(), ("open mpi", 2, 1)),
        ({}, Flags("10.0.0.1:1234", 8, 7), ("flags", 8, 7)),
        (SLURM, Flags("10.0.0.1:1234", 8, 7), ("flags", 8, 7)),
        (SLURM, Flags("10.0.0.1:1234"), ("flags", 4, 3)),
        (SLURM | {"SLURM_NTASKS": "1", "SLURM_PROCID": "0"}, Flags(), ("none", 1, 0)),
    ],
)
def test_a_process_knows_its_job(environ, flags, expected):
    found = detect(environ, flags)
    assert (found.launcher, found.processes, found.process) == expected


def test_a_shell_in_a_slurm_job_is_one_process_and_says_so():
    shell = {name: SLURM[name] for name in ("SLURM_JOB_ID", "SLURM_NTASKS")}
    found = detect(shell)
    assert found.processes == 1
    assert "not started by srun (SLURM_STEP_NODELIST, SLURM_PROCID, SLURM_LOCALID" in found.remark


@pytest.mark.parametrize(
    ("environ", "flags", "reason"),
    [
        ({}, Flags(num_processes=2), "go together"),
        ({}, Flags("10.0.0.1:1234", 2), "go together"),
        ({}, Flags("10.0.0.1", 2, 0), "no HOST:PORT"),
        ({}, Flags("10.0.0.1:99999", 2, 0), "no HOST:PORT"),
        ({}, Flags("10.0.0.1:1234", 2, 2), "--process-id 2"),
        ({}, Flags("10.0.0.1:1234", 0, 0), "--num-processes 0"),
        (SLURM | {"SLURM_NTASKS": "4(x2)"}, Flags(), "SLURM_NTASKS"),
        (SLURM | {"SLURM_PROCID": "4"}, Flags(), "SLURM_PROCID"),
        (
            {name: text for name, text in OPEN_MPI.items() if "uri" not in name},
            Flags(),
            "give --coordinator",
        ),
    ],
)
def test_what_cannot_be_a_job_is_refused(environ, flags, reason):
    with pytest.raises(InputError, match=reason):
        detect(environ, flags)


def test_alone_initialize_and_run_on_main_do_nothing_but_call():
    assert initialize(detect({})) == detect({})
    assert run_on_main(lambda: {"a": [1]}) == {"a": [1]}
