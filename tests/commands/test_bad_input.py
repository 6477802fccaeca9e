"""Every wrong input gives one message that names the facts, exit code 2, and no new file."""

import csv
import os
import re
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from tests.helpers.commands import call, done

ROLES = ("--column", "job=category", "--label", "y", "--id-column", "id")
SMALL = ("--recipe", "seed", "--hidden-dims", "8", "--latent-dim", "2", "--epochs", "3", *ROLES)
# The shapes are those of test_command_line.py, so that nothing is compiled twice.
OF_METHOD = {
    "autoencoder": ("--validation-fraction", "0.25", "--batch-size", "16"),
    "vae": (),
    "simclr": (),
}


def make_rows(count=60):
    """Rows of the columns id, a, b, c, job, y."""
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(count, 3)).round(4).tolist()
    jobs = rng.choice(["clerk", "smith"], count).tolist()
    return [[f"r{i}", *numbers[i], jobs[i], i % 2] for i in range(count)]


def write_csv(path, rows, header=("id", "a", "b", "c", "job", "y")):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return str(path)


def contents(path):
    return {p: (p.stat().st_mtime_ns, p.is_file() and p.read_bytes()) for p in path.rglob("*")}


@pytest.fixture
def refused(tmp_path):
    """Runs a command that must be refused; checks the message and that nothing was written."""

    def check(*argv, facts, code=2):
        before = contents(tmp_path)
        found, out, err = call(*argv)
        assert found == code, err
        assert out == ""
        for fact in facts:
            assert str(fact) in err, err
        if "full helptext" not in err:  # which ends tyro's messages about flags
            *said, last = err.splitlines()  # what the columns are may stand before
            assert last.startswith("jaxrep: "), err
            assert all(re.match(r"  |.+: [\d,]+ rows, \d+ columns$", line) for line in said), err
        assert contents(tmp_path) == before
        return err

    return check


@pytest.fixture
def data(tmp_path):
    return write_csv(tmp_path / "people.csv", make_rows())


@pytest.fixture
def refused_in_training(refused, tmp_path):
    def check(source, *flags, facts, method="autoencoder"):
        argv = ("train", method, source, "--out", tmp_path / "run", *SMALL, *flags)
        return refused(*argv, facts=facts)

    return check


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with people.csv and a run of each method, for tests to copy."""
    path = tmp_path_factory.mktemp("trained")
    source = write_csv(path / "people.csv", make_rows())
    for method, flags in OF_METHOD.items():
        code, _, err = call("train", method, source, "--out", path / method, *SMALL, *flags)
        assert code == 0, err
    return path


@pytest.fixture
def runs(trained, tmp_path):
    """A copy of the runs and of people.csv, in `tmp_path`."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path


# train: the table


def test_a_file_that_is_missing_is_named(refused_in_training):
    refused_in_training("none.csv", facts=["none.csv", "no such file"])


def test_an_empty_file_is_refused(refused_in_training, tmp_path):
    (tmp_path / "people.csv").touch()
    refused_in_training(tmp_path / "people.csv", facts=["people.csv", "empty"])


def test_a_header_without_rows_is_refused(refused_in_training, tmp_path):
    source = write_csv(tmp_path / "people.csv", [])
    refused_in_training(source, facts=["people.csv", "the table has no rows"])


def test_a_text_cell_is_named_by_file_column_row_and_value(refused_in_training, tmp_path):
    rows = make_rows()
    rows[41][2] = "1,2,34"
    source = write_csv(tmp_path / "people.csv", rows)
    facts = ["people.csv", "'b'", "row 41", "'1,2,34'", "not a number", "--na-values"]
    refused_in_training(source, facts=facts)


def test_missing_cells_may_be_refused_by_column_with_the_way_out(refused_in_training, tmp_path):
    rows = make_rows()
    rows[3][1] = rows[7][1] = ""
    rows[5][3] = "NaN"
    source = write_csv(tmp_path / "people.csv", rows)
    facts = ["people.csv", "'a' (2)", "'c' (1)", "leave --impute refuse out"]
    refused_in_training(source, "--impute", "refuse", facts=facts)


def test_missing_cells_are_filled(tmp_path):
    rows = make_rows()
    rows[3][1] = rows[7][1] = ""
    rows[5][4] = "?"
    source = write_csv(tmp_path / "people.csv", rows)
    flags = (*SMALL, "--na-values", "?")
    code, _, err = call("train", "vae", source, "--out", tmp_path / "run", *flags)
    assert code == 0, err
    code, _, err = call("embed", tmp_path / "run", source, "--out", tmp_path / "z.csv")
    assert code == 0, err


@pytest.mark.parametrize("value", ["inf", "-inf", "1e999"])
def test_an_infinite_cell_is_named(refused_in_training, tmp_path, value):
    rows = make_rows()
    rows[9][3] = value
    source = write_csv(tmp_path / "people.csv", rows)
    refused_in_training(source, facts=["people.csv", "'c'", "row 9", "infinite"])


def test_a_constant_column_is_left_out_and_that_is_said(tmp_path):
    rows = [[name, a, 7, c, job, y] for name, a, _, c, job, y in make_rows()]
    source = write_csv(tmp_path / "people.csv", rows)
    code, out, err = call("train", "vae", source, "--out", tmp_path / "run", *SMALL)
    assert code == 0
    assert f"{source}: 60 rows, 6 columns\n" in err
    assert re.search("^  b +left out \\(constant\\) +only one value, 7$", err, re.MULTILINE)
    assert "left out" not in out
    assert done("info", tmp_path / "run")["kept_of_training_data"]["constants"] == {"b": 7.0}


def test_one_row_is_refused(refused_in_training, tmp_path):
    source = write_csv(tmp_path / "people.csv", make_rows(1))
    refused_in_training(source, facts=["people.csv", "at least 2 rows", "1 sample"])


def test_a_validation_share_that_leaves_no_rows_is_refused(refused_in_training, tmp_path):
    source = write_csv(tmp_path / "people.csv", make_rows(3))
    facts = ["validation_fraction is 0.9", "of 3 rows it leaves 0"]
    refused_in_training(source, "--validation-fraction", "0.9", facts=facts)


def test_a_file_of_another_kind_is_refused_with_the_kinds_there_are(refused_in_training, tmp_path):
    (tmp_path / "people.sav").write_bytes(b"$FL2\0\xff")
    facts = ["people.sav", "CSV as UTF-8", "Parquet", ".npy", ".npz"]
    refused_in_training(tmp_path / "people.sav", facts=facts)
    with zipfile.ZipFile(tmp_path / "people.xlsx", "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    facts = ["people.xlsx", "the file is zip, which is not read", "convert it"]
    refused_in_training(tmp_path / "people.xlsx", facts=facts)


@pytest.mark.parametrize("suffix", [".parquet", ".npy", ".npz", ".csv.gz"])
def test_a_file_that_is_not_what_its_name_says_is_refused(refused_in_training, tmp_path, suffix):
    (tmp_path / f"people{suffix}").write_text("id,a\nr0,1\n")
    refused_in_training(tmp_path / f"people{suffix}", facts=[f"people{suffix}"])


def test_a_folder_is_no_table(refused_in_training, tmp_path):
    (tmp_path / "people.csv").mkdir()
    refused_in_training(tmp_path / "people.csv", facts=["people.csv", "folder"])


@pytest.mark.parametrize(
    ("flag", "given"),
    [
        ("--label", "jub"),
        ("--id-column", "jub"),
        ("--drop", "jub"),
        ("--column", "jub=category"),
    ],
)
def test_a_flag_that_names_no_column_says_which_is_near(refused_in_training, data, flag, given):
    refused_in_training(data, flag, given, facts=["people.csv", "'jub'", flag, "'job'"])


def test_a_kind_that_there_is_not_lists_the_kinds(refused_in_training, data):
    facts = ["--column a=nominal", "number, count, boolean, category", "NAME=KIND"]
    refused_in_training(data, "--column", "a=nominal", facts=facts)


def test_a_schema_file_that_cannot_be_read_is_named(refused_in_training, data, tmp_path):
    refused_in_training(data, "--schema", "gone.toml", facts=["--schema gone.toml", "No such file"])
    (tmp_path / "s.toml").write_text("columns = 3\n")
    facts = [f"--schema {tmp_path / 's.toml'}", "`object`, got `int`", "$.kinds"]
    refused_in_training(data, "--schema", tmp_path / "s.toml", facts=facts)


def test_a_column_with_two_roles_is_refused(refused_in_training, data):
    facts = ["'job'", "--column", "--label"]
    refused_in_training(data, "--label", "job", facts=facts)


def test_another_label_of_a_bundled_set_must_be_a_column(refused, tmp_path):
    argv = ("train", "vae", "iris", "--out", tmp_path / "run", "--label")
    refused(*argv, "height", facts=["iris", "'height'"])


# train: flags and hyperparameters


def test_an_unknown_flag_is_named(refused_in_training, data):
    refused_in_training(data, "--betta", "4", facts=["--betta"], method="vae")


def test_a_flag_of_another_method_is_named(refused_in_training, data):
    refused_in_training(data, "--beta", "4", facts=["--beta"], method="simclr")


def test_no_command_lists_the_commands(refused):
    refused(facts=["train", "embed", "interpolate"])


def test_an_unknown_command_and_method_are_named(refused, data, tmp_path):
    refused("fit", data, facts=["fit", "train"])
    refused("train", "pca", data, "--out", tmp_path / "run", facts=["pca", "vae", "simclr"])


def test_train_without_a_folder_asks_for_one(refused, data):
    refused("train", "vae", data, facts=["--out"])


def test_a_flag_that_is_no_number_is_named(refused_in_training, data):
    refused_in_training(data, "--epochs", "many", facts=["--epochs", "'many'"])


OUT_OF_RANGE = [
    ("simclr", "temperature", "0", "0.0"),
    ("simclr", "temperature", "-1", "-1.0"),
    ("vae", "beta", "-1", "-1.0"),
    ("vae", "beta", "nan", "nan"),
    ("vae", "beta", "inf", "inf"),
    ("autoencoder", "latent_dim", "0", "0"),
    ("autoencoder", "hidden_dims", "0", "(0,)"),
    ("autoencoder", "drop_rate", "1", "1.0"),
    ("simclr", "noise_std", "-0.1", "-0.1"),
    ("simclr", "proj_dim", "0", "0"),
    ("vae", "learning_rate", "0", "0.0"),
    ("vae", "weight_decay", "-1", "-1.0"),
    ("vae", "epochs", "-1", "-1"),
    ("vae", "batch_size", "0", "0"),
    ("vae", "validation_fraction", "1", "1.0"),
    ("vae", "seed", "-1", "-1"),
    ("vae", "seed", "4294967296", "4294967296"),
]


@pytest.mark.parametrize(("method", "name", "text", "value"), OUT_OF_RANGE)
def test_a_hyperparameter_out_of_range_is_named(
    refused_in_training, data, method, name, text, value
):
    flag = "--" + name.replace("_", "-")
    facts = [f"{name} is {value}; it must be "]
    refused_in_training(data, flag, text, facts=facts, method=method)


# train: the folder


def test_a_folder_inside_a_file_is_refused(refused, data, tmp_path):
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file" / "run", tmp_path / "file" / "a" / "run"):
        facts = [f"--out {out}", "cannot be written"]
        refused("train", "vae", data, "--out", out, *SMALL, facts=facts)


def test_a_folder_with_a_name_too_long_is_refused(refused, data, tmp_path):
    out = tmp_path / ("x" * 300)
    refused("train", "vae", data, "--out", out, *SMALL, facts=[f"--out {out}", "too long"])


@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
def test_a_file_in_the_place_of_the_folder_is_left_alone(refused, data, tmp_path, overwrite):
    out = tmp_path / "run"
    out.write_text("mine")
    facts = [f"--out {out}", "not a run folder"]
    refused("train", "vae", data, "--out", out, *SMALL, *overwrite, facts=facts)


@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
@pytest.mark.parametrize("name", ["notes.txt", "config.json", "manifest.json", "model.safetensors"])
def test_a_folder_of_other_things_is_left_alone(refused, data, tmp_path, name, overwrite):
    out = tmp_path / "run"
    out.mkdir()
    (out / name).write_text('{"name": "mine"}')
    facts = [f"--out {out}", "not a run folder"]
    refused("train", "vae", data, "--out", out, *SMALL, *overwrite, facts=facts)


@pytest.mark.parametrize("name", ["config.json", "schema.json", "model.safetensors"])
def test_a_damaged_run_is_not_taken_for_this_run_finished(refused, runs, name):
    damage(runs / "vae" / name)
    argv = ("train", "vae", runs / "people.csv", "--out", runs / "vae", *SMALL)
    refused(*argv, facts=[runs / "vae" / name, "damaged", "--overwrite"])


# Commands on a run: the run


def damage(path, where=0.5):
    data = bytearray(path.read_bytes())
    data[int(where * len(data))] ^= 1
    path.write_bytes(data)


ON_A_RUN = {
    "info": (),
    "embed": ("people.csv", "--out", "new.csv"),
    "reconstruct": ("people.csv", "--out", "new.csv"),
    "decode": ("codes.csv", "--out", "new.csv"),
    "score": ("people.csv", "--out", "new.csv"),
    "generate": ("--out", "new.csv"),
    "interpolate": ("people.csv", "--rows", "0", "1", "--out", "new.csv"),
}


def on_a_run(command, run):
    """The arguments of a command that would work if the run did."""
    (run.parent / "codes.csv").write_text("z0,z1\n0,1\n")
    rest = [str(run.parent / a) if a.endswith(".csv") else a for a in ON_A_RUN[command]]
    return (command, run, *rest)


@pytest.mark.parametrize("command", ON_A_RUN)
def test_a_run_that_is_missing_is_named(refused, runs, command):
    refused(*on_a_run(command, runs / "none"), facts=[runs / "none", "not a run folder"])


@pytest.mark.parametrize("command", ON_A_RUN)
def test_a_run_without_its_manifest_and_checkpoints_is_incomplete(refused, runs, command):
    (runs / "vae" / "manifest.json").unlink()
    shutil.rmtree(runs / "vae" / "checkpoints")
    refused(*on_a_run(command, runs / "vae"), facts=[runs / "vae", "not finished", "no checkpoint"])


@pytest.mark.parametrize("command", ON_A_RUN)
@pytest.mark.parametrize(
    "name", ["config.json", "schema.json", "model.safetensors", "metrics.jsonl"]
)
def test_a_byte_changed_in_a_file_of_a_run_names_the_file(refused, runs, command, name):
    damage(runs / "vae" / name)
    refused(*on_a_run(command, runs / "vae"), facts=[runs / "vae" / name, "damaged"])


def test_a_folder_of_other_things_is_no_run(refused, runs):
    (runs / "other").mkdir()
    (runs / "other" / "config.json").write_text('{"name": "mine"}')
    refused("info", runs / "other", facts=[runs / "other", "not a run folder"])
    refused("info", runs / "people.csv", facts=[runs / "people.csv", "not a run folder"])


# Commands on a run: the table


def test_missing_and_extra_columns_are_both_listed(refused, runs):
    rows = [[a, b, job, y, 1] for _, a, b, _, job, y in make_rows()]
    source = write_csv(runs / "other.csv", rows, ("a", "b", "job", "y", "d"))
    for command in ("embed", "score", "reconstruct"):
        argv = (command, runs / "vae", source, "--out", runs / "new.csv")
        refused(*argv, facts=["other.csv", "missing columns 'c'", "extra columns 'd'"])


def test_a_column_of_text_where_numbers_were_is_named(refused, runs):
    rows = make_rows()
    rows[12][3] = "high"
    source = write_csv(runs / "other.csv", rows)
    argv = ("embed", runs / "vae", source, "--out", runs / "new.csv")
    refused(*argv, facts=["other.csv", "'c'", "row 12", "'high'"])


def test_missing_cells_are_refused_by_a_run_that_refused_them(refused, runs):
    argv = ("train", "vae", runs / "people.csv", "--out", runs / "strict", *SMALL)
    done(*argv, "--impute", "refuse")
    rows = make_rows()
    rows[12][3] = ""
    source = write_csv(runs / "other.csv", rows)
    argv = ("score", runs / "strict", source, "--out", runs / "new.csv")
    refused(*argv, facts=["other.csv", "'c' (1)"])


def test_a_table_that_is_missing_is_named(refused, runs):
    argv = ("embed", runs / "vae", runs / "none.csv", "--out", runs / "new.csv")
    refused(*argv, facts=["none.csv", "no such file"])


@pytest.mark.parametrize("columns", ["z0", "z0,z1,z2", "z0,b", "a,b,c"])
def test_codes_with_other_columns_are_refused_with_those_there_are(refused, runs, columns):
    count = columns.count(",") + 1
    (runs / "codes.csv").write_text(columns + "\n" + ",".join("1" * count) + "\n")
    argv = ("decode", runs / "vae", runs / "codes.csv", "--out", runs / "new.csv")
    refused(*argv, facts=["codes.csv", "z0 to z1", columns.replace(",", ", ")])


def test_an_array_of_codes_of_another_width_is_refused(refused, runs):
    np.save(runs / "codes.npy", np.zeros((4, 3), np.float32))
    argv = ("decode", runs / "vae", runs / "codes.npy", "--out", runs / "new.csv")
    refused(*argv, facts=["codes.npy", "z0 to z1"])


@pytest.mark.parametrize("value", ["", "1e300"])
def test_a_code_that_is_missing_or_too_large_is_refused(refused, runs, value):
    (runs / "codes.csv").write_text(f"z0,z1\n1,2\n{value},2\n")
    argv = ("decode", runs / "vae", runs / "codes.csv", "--out", runs / "new.csv")
    refused(*argv, facts=["codes.csv", "finite"])


def test_an_id_column_named_like_an_output_is_not_overwritten(refused, tmp_path):
    header = ("score", "a", "b", "c", "job", "y")
    source = write_csv(tmp_path / "people.csv", make_rows(), header)
    flags = (*SMALL[:-1], "score")
    code, _, err = call("train", "vae", source, "--out", tmp_path / "run", *flags)
    assert code == 0, err
    argv = ("score", tmp_path / "run", source, "--out", tmp_path / "new.csv")
    refused(*argv, facts=["id column 'score'"])


# Commands on a run: flags


@pytest.mark.parametrize(
    ("command", "output"),
    [("decode", "decode"), ("reconstruct", "reconstruct"), ("interpolate", "decode")],
)
def test_simclr_is_refused_where_a_decoder_is_needed(refused, runs, command, output):
    able = "methods that have it: autoencoder, vae"
    facts = [runs / "simclr", f"simclr has no {output}", command, able]
    refused(*on_a_run(command, runs / "simclr"), facts=facts)


@pytest.mark.parametrize("method", ["autoencoder", "simclr"])
def test_only_a_vae_generates(refused, runs, method):
    facts = [runs / method, f"{method} has no generate", "methods that have it: vae"]
    refused(*on_a_run("generate", runs / method), facts=facts)


@pytest.mark.parametrize("row", ["60", "-1"])
def test_a_row_that_is_not_there_is_named_with_those_that_are(refused, runs, row):
    argv = ("interpolate", runs / "vae", runs / "people.csv", "--out", runs / "new.csv")
    refused(*argv, "--rows", "0", row, facts=[f"--rows {row}", "rows 0 to 59"])


@pytest.mark.parametrize("steps", ["1", "0", "-3", "1000000000000"])
def test_steps_out_of_range_are_refused(refused, runs, steps):
    argv = on_a_run("interpolate", runs / "vae")
    refused(*argv, "--steps", steps, facts=[f"--steps is {steps}", "from 2"])


@pytest.mark.parametrize("count", ["0", "-1", "1000000000000"])
def test_a_number_of_samples_out_of_range_is_refused(refused, runs, count):
    refused(*on_a_run("generate", runs / "vae"), "-n", count, facts=[f"-n is {count}"])


@pytest.mark.parametrize("seed", ["-1", "99999999999999999999"])
def test_a_seed_out_of_range_is_refused(refused, runs, seed):
    refused(*on_a_run("generate", runs / "vae"), "--seed", seed, facts=[f"--seed is {seed}"])


@pytest.mark.parametrize("share", ["0", "1", "-0.1", "nan"])
def test_a_contamination_that_is_no_share_is_refused(refused, runs, share):
    argv = on_a_run("score", runs / "vae")
    refused(*argv, "--contamination", share, facts=["--contamination is", "above 0 and below 1"])


# Commands on a run: the output


WRITERS = [command for command in ON_A_RUN if command != "info"]


@pytest.mark.parametrize("command", WRITERS)
def test_a_missing_output_folder_is_named(refused, runs, command):
    argv = on_a_run(command, runs / "vae")[:-1]
    refused(*argv, runs / "none" / "new.csv", facts=[runs / "none", "no folder"])


@pytest.mark.parametrize("command", WRITERS)
@pytest.mark.parametrize("name", ["new.xlsx", "new"])
def test_an_unknown_output_suffix_is_refused_with_those_there_are(refused, runs, command, name):
    argv = on_a_run(command, runs / "vae")[:-1]
    known = ".csv, .csv.gz, .csv.bz2, .csv.zst, .parquet, .feather, .arrow, .npy"
    refused(*argv, runs / name, facts=[runs / name, known])


def test_an_output_over_its_own_input_is_refused(refused, runs):
    out = runs / "vae" / ".." / "people.csv"
    argv = ("embed", runs / "vae", runs / "people.csv", "--out", out)
    refused(*argv, facts=["people.csv", "is the table to read"])


def test_an_output_over_the_table_of_the_training_is_refused(refused, runs, trained):
    argv = ("score", runs / "vae", runs / "people.csv", "--out", trained / "people.csv")
    refused(*argv, facts=["people.csv", "is the table to read"])


def test_an_output_with_a_name_too_long_is_refused(refused, runs):
    out = runs / ("z" * 300 + ".csv")
    refused("embed", runs / "vae", runs / "people.csv", "--out", out, facts=["too long"])


def test_a_folder_in_the_place_of_the_output_is_refused(refused, runs):
    (runs / "new.csv").mkdir()
    refused(*on_a_run("embed", runs / "vae"), facts=[runs / "new.csv", "folder"])


def test_an_output_is_refused_before_the_run_is_read(refused, tmp_path):
    argv = ("embed", tmp_path / "none", tmp_path / "none.csv", "--out", tmp_path / "new.xlsx")
    refused(*argv, facts=["cannot write '.xlsx'"])


def test_text_is_refused_in_an_array(refused, runs):
    argv = on_a_run("embed", runs / "vae")[:-1]
    refused(*argv, runs / "new.npy", facts=["new.npy", "'id'", ".csv or .parquet"])


def test_an_earlier_output_stays_when_the_command_is_refused(refused, runs):
    (runs / "new.csv").write_text("mine")
    damage(runs / "vae" / "model.safetensors")
    refused(*on_a_run("embed", runs / "vae"), facts=["model.safetensors"])


# The machine


def test_a_device_that_is_not_there_is_refused_and_the_cpu_still_works(refused, runs):
    import jax

    if jax.default_backend() != "cpu":
        pytest.skip("there is another device than the CPU")
    argv = on_a_run("embed", runs / "vae")
    for device in ("gpu", "tpu"):
        refused(*argv, "--device", device, facts=[f"--device {device}", f"sees no {device}"])
    for device in ("auto", "cpu"):
        code, _, err = call(*argv, "--device", device)
        assert code == 0, err


def test_a_fresh_process_refuses_a_missing_device_and_goes_on_with_the_cpu(trained):
    script = f"""
import sys
from jaxrep.cli import main
codes = [main(["info", {str(trained / "vae")!r}, "--device", device]) for device in ("gpu", "auto")]
import jax
sys.exit(0 if codes == [2, 0] and float(jax.numpy.ones(2).sum()) == 2 else 1)
"""
    import jax

    if jax.default_backend() != "cpu":
        pytest.skip("there is another device than the CPU")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--device gpu: JAX sees no gpu" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("platforms", ["cuda", "nowhere"])
def test_a_platform_in_the_environment_that_is_not_there_is_refused(platforms, trained, tmp_path):
    if os.path.exists("/proc/driver/nvidia/version"):
        pytest.skip("there is another device than the CPU")
    table, run, out = trained / "people.csv", trained / "vae", tmp_path / "out"
    commands = [
        ("train", "vae", table, "--out", out),
        ("sweep", "vae", table, "--out", out, "--grid", "beta=1,4"),
        ("embed", run, table, "--out", tmp_path / "z.csv"),
        ("generate", run, "-n", "3", "--out", tmp_path / "new.csv"),
        ("report", run, "--out", tmp_path / "report.html"),
    ]
    script = f"""
import sys
from jaxrep.cli import main
for argv in {[list(map(str, argv)) for argv in commands]!r}:
    print(main(argv))
"""
    environment = os.environ | {"JAX_PLATFORMS": platforms}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment
    )
    assert done.stdout.split() == ["2"] * len(commands), done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("jaxrep: ")]
    assert len(said) == len(commands)
    for line in said:
        assert line.startswith(f"jaxrep: JAX_PLATFORMS is {platforms}, and JAX starts on no such")
        assert "; unset it, or install JAX for that device" in line
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_real_process_exits_with_2_and_one_line(tmp_path):
    argv = ("train", "vae", "none.csv", "--out", "run")
    done = subprocess.run(
        [sys.executable, "-m", "jaxrep.cli", *argv], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "jaxrep: none.csv: no such file\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (MemoryError("Unable to allocate 7 TiB"), "out of memory (Unable to allocate 7 TiB)"),
    ],
)
def test_what_the_machine_lacks_is_one_message_and_exit_code_1(
    refused, runs, monkeypatch, error, said
):
    from jaxrep.runs import folder

    def fail(path):
        raise error

    monkeypatch.setattr(folder, "load", fail)
    refused(*on_a_run("embed", runs / "vae"), facts=[said], code=1)


def test_the_demonstration_refuses_a_folder_that_cannot_be_made(tmp_path, capsys):
    from jaxrep import demo

    (tmp_path / "file").write_text("mine")
    assert demo.main([str(tmp_path / "file" / "demo")]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("demo: ")
    assert captured.err.count("\n") == 1 and str(tmp_path) in captured.err


def test_ctrl_c_is_one_message(refused, runs, monkeypatch):
    from jaxrep.runs import folder

    def interrupt(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(folder, "load", interrupt)
    refused(*on_a_run("embed", runs / "vae"), facts=["interrupted"], code=130)
