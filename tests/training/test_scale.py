"""Training on several devices and in jobs of several processes, against one of each."""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxrep.methods import VAE, VAEHyperparameters
from jaxrep.training import fit, mesh_of

ROOT = Path(__file__).parents[2]
ON_A_MESH = ROOT / "tests" / "helpers" / "training_on_a_mesh.py"
EPOCHS = 12


def on_a_mesh(*arguments):
    made = subprocess.run(
        [sys.executable, ON_A_MESH, *arguments], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    return json.loads(made.stdout.splitlines()[-1])


def assert_as_on_one_device(report):
    assert report["loss"] <= 1e-6
    assert report["weights"] <= 2e-6


def collectives(**counts):
    names = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
    return {name: counts.get(name.replace("-", "_"), 0) for name in names}


@pytest.mark.slow
def test_two_devices_train_as_one_by_one_reduce_scatter_and_three_all_reduces_a_step():
    (report,) = on_a_mesh("2", "vae").values()
    assert_as_on_one_device(report)
    assert report["gradient"] <= 1e-7
    # The rows of the batch; the gradients together with the loss's terms.
    assert report["collectives"] == collectives(reduce_scatter=1, all_reduce=3)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["autoencoder", "vae", "simclr"])
def test_any_number_of_devices_trains_as_one(method):
    found = on_a_mesh("1,2,4,8", method, "all")
    assert len(found) == 4
    for report in found.values():
        assert_as_on_one_device(report)
        assert_as_on_one_device(report["streamed"])
        assert_as_on_one_device(report["sharded"])
        assert report["gradient"] <= 1e-7
        assert report["collectives"]["all-to-all"] == 0
    expected = found[f"{method} 2"]["collectives"]
    assert found[f"{method} 8"]["collectives"] == expected


def test_the_bytes_counted_in_compiled_steps_are_those_of_the_cost_model():
    for case, found in json.loads((ROOT / "bench/results/scale.json").read_text()).items():
        method, devices = case.split()
        batch, share = found["batch"], 1 - 1 / int(devices)
        expected = share * (4 * batch * 32 + 8 * found["parameters"])
        if method == "simclr":
            expected += share * 4 * 2 * batch * (2 * 32 + 5)
        counted = sum(part["bytes"] for part in found["in_a_step"].values())
        # Beside them a step sums a few scalars: the loss and its metrics.
        assert counted == pytest.approx(expected, rel=1e-3)


def test_a_batch_that_devices_cannot_part_is_refused_with_sizes_that_fit():
    mesh = mesh_of(jax.devices()[:1])
    from jaxrep.training import Devices

    class Three(Devices):
        count = 3

    with pytest.raises(ValueError, match=r"batches of 128 rows .* among 3 .* 126 or 129"):
        Three(mesh).check_batch(128, 1000)
    with pytest.raises(ValueError, match=r"give batch_size 126$"):
        Three(mesh).check_batch(128, 128)
    with pytest.raises(ValueError, match="use fewer devices"):
        Three(mesh).check_batch(2, 2)


def test_a_mesh_of_other_axes_is_refused():
    with pytest.raises(ValueError, match="the one axis 'data'"):
        fit(
            VAE(VAEHyperparameters()), np.ones((4, 2), np.float32), mesh=jax.make_mesh((1,), ("x",))
        )


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def by_flags(process, port):
    flags = f"--coordinator 127.0.0.1:{port} --num-processes 2 --process-id {process}"
    return flags.split(), {}


def by_slurm(process, port):
    return [], {
        "SLURM_JOB_ID": str(4242 + port),
        "SLURM_STEP_NODELIST": "127.0.0.1",
        "SLURM_NTASKS": "2",
        "SLURM_PROCID": str(process),
        "SLURM_LOCALID": str(process),
        "JAX_COORDINATOR_PORT": str(port),
    }


def by_open_mpi(process, port):
    return [], {
        "OMPI_MCA_orte_hnp_uri": f"{4096 * port}.0;tcp://127.0.0.1:34911",
        "OMPI_COMM_WORLD_SIZE": "2",
        "OMPI_COMM_WORLD_RANK": str(process),
        "OMPI_COMM_WORLD_LOCAL_RANK": str(process),
        "JAX_COORDINATOR_PORT": str(port),
    }


class Job:
    """Processes that run one command on a device each, or one process on several devices."""

    def __init__(self, out, *arguments, processes=2, devices=1, launched=by_flags):
        port = free_port()
        self.out = out
        self.processes = []
        for process in range(processes):
            flags, environ = launched(process, port) if processes > 1 else ([], {})
            flags += ["--devices", str(devices)] if devices > 1 else []
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "jaxrep.cli", *arguments, "--json", *flags],
                    env=os.environ | {"JAX_NUM_CPU_DEVICES": str(devices)} | environ,
                    cwd=ROOT,
                    text=True,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                )
            )

    def end(self, *codes):
        """Waits for the processes' ends, checks their exit codes, returns what each has printed."""
        told = [process.communicate(timeout=300) for process in self.processes]
        found = [process.returncode for process in self.processes]
        assert found == list(codes or [0] * len(found)), told
        return told

    def wait_for_checkpoint(self):
        while not list(self.out.glob("checkpoints/0*/manifest.json")):
            time.sleep(0.05)
            assert all(process.poll() is None for process in self.processes), self.end()


def train(out, *more, method="vae", epochs=EPOCHS, every="1"):
    settings = ["--epochs", str(epochs), "--checkpoint-every", every, *more]
    return ["train", method, "iris", "--batch-size", "32", "--out", str(out), *settings]


def digests(out):
    names = ("model.safetensors", "metrics.jsonl")
    return [hashlib.sha256((out / name).read_bytes()).hexdigest() for name in names]


@pytest.fixture(scope="module")
def of_one_process(tmp_path_factory):
    """Digests of what one process makes on two devices."""
    out = tmp_path_factory.mktemp("one") / "run"
    Job(out, *train(out), processes=1, devices=2).end()
    return digests(out)


@pytest.mark.end_to_end
def test_two_processes_make_the_bits_of_one_with_two_devices(tmp_path, of_one_process):
    out = tmp_path / "run"
    (first, _), (second, _) = Job(out, *train(out)).end()
    assert digests(out) == of_one_process
    assert json.loads(first.splitlines()[-1])["rows"] == 150
    assert "loss" not in second  # process 0 alone prints


@pytest.mark.slow
@pytest.mark.parametrize("launched", [by_slurm, by_open_mpi])
def test_a_launchers_processes_find_each_other(launched, tmp_path, of_one_process):
    out = tmp_path / "run"
    told = Job(out, *train(out), launched=launched).end()
    assert digests(out) == of_one_process
    assert "process 1 of 2, started by" in told[1][1]


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_job_that_loses_a_process_ends_and_started_again_makes_the_same_bits(killed, tmp_path):
    long = {"epochs": 200, "every": "0.5s"}
    whole, out = tmp_path / "whole", tmp_path / "run"
    Job(whole, *train(whole, **long), processes=1, devices=2).end()
    job = Job(out, *train(out, "--heartbeat-timeout", "10", **long))
    job.wait_for_checkpoint()
    job.processes[killed].kill()
    job.processes[killed].communicate()
    started = time.monotonic()
    assert job.processes[1 - killed].wait(timeout=60) not in (0, 75)
    assert time.monotonic() - started < 30
    assert job.processes[1 - killed].communicate()[1].strip()
    (first, _), _ = Job(out, *train(out, **long)).end()
    assert json.loads(first.splitlines()[-1])["resumed_from_step"] > 0
    assert digests(out) == digests(whole)


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_and_any_number_of_processes_goes_on(tmp_path):
    out = tmp_path / "run"
    job = Job(out, *train(out, epochs=3000, every="0.5s"))
    job.wait_for_checkpoint()
    job.processes[1].send_signal(signal.SIGTERM)
    for _, told in job.end(75, 75):
        assert "interrupted after step" in told
    assert not list((out / "checkpoints").glob("*tmp*"))
    stopped = max(int(path.name) for path in (out / "checkpoints").iterdir())
    # In one process on one device, then in two again.
    (told,) = Job(out, "resume", str(out), "--epochs", "3000", processes=1).end(0)
    assert json.loads(told[0].splitlines()[-1])["resumed_from_step"] == stopped
    (first, _), _ = Job(out, "resume", str(out), "--epochs", "3005").end()
    assert json.loads(first.splitlines()[-1])["resumed_from_step"] == 15000


@pytest.mark.slow
def test_two_processes_stream_their_parts_of_the_blocks(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    Job(one, *train(one, "--stream", "always"), processes=1, devices=2).end()
    Job(two, *train(two, "--stream", "always")).end()
    assert digests(two) == digests(one)


@pytest.mark.slow
def test_sharded_parameters_are_saved_and_read_on_another_number_of_devices(tmp_path):
    out = tmp_path / "run"
    Job(out, *train(out, "--shard-parameters")).end()
    (told,) = Job(
        out, "resume", str(out), "--epochs", str(EPOCHS + 2), processes=1, devices=4
    ).end()
    assert json.loads(told[0].splitlines()[-1])["resumed_from_step"] == 5 * EPOCHS


@pytest.mark.slow
def test_what_is_wrong_in_a_job_ends_all_its_processes(tmp_path):
    out = tmp_path / "run"
    for _, told in Job(out, *train(out, "--batch-size", "33")).end(2, 2):
        assert (
            "batches of 33 rows cannot be sharded evenly among 2 devices; give batch_size" in told
        )
    assert not out.exists()
