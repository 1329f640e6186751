"""Save and load: the same bits come back, a file that is not whole or not ours is refused, nothing is unpickled."""

import io
import json
import os
import pickle

import numpy as np
import pytest
from helpers import same_bits

from scratchpg import SoftmaxPolicy, Value, load, save

ABOUT = {"format": "scratchpg checkpoint 1", "env": None, "sizes": {"policy": [3, 2]}}


def networks(dtype=np.float32):
    return SoftmaxPolicy((3, 4, 2), rng=0, dtype=dtype), Value((3, 5), rng=1, dtype=dtype)


def npz(about=ABOUT, **arrays):
    """The bytes of an .npz file as `save` writes it, or of one that differs in what is given."""
    file = io.BytesIO()
    np.savez(file, about=np.array(about if isinstance(about, str) else json.dumps(about)), **arrays)
    return file.getvalue()


def written(write, *args, **kwargs):
    """The bytes that a function writes to a file."""
    file = io.BytesIO()
    write(file, *args, **kwargs)
    return file.getvalue()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("with_value", [False, True])
def test_round_trip(tmp_path, dtype, with_value):
    policy, value = networks(dtype)
    save(tmp_path / "x.npz", policy, value if with_value else None, env="CartPole-v1")
    loaded = load(tmp_path / "x.npz")
    assert loaded.env == "CartPole-v1"
    assert loaded.policy.net.sizes == (3, 4, 2) and same_bits(loaded.policy.theta, policy.theta)
    assert (loaded.value is not None) == with_value
    if with_value:
        assert loaded.value.net.sizes == (3, 5, 1) and same_bits(loaded.value.theta, value.theta)
    states = np.random.default_rng(0).standard_normal((5, 3))
    assert same_bits(loaded.policy(states).logits, policy(states).logits)
    loaded.policy.theta[:] = 0  # what was loaded can be trained on


@pytest.mark.parametrize("name", ["policy", "policy.npz", "π θ.ckpt"])
def test_the_file_has_the_name_it_was_given(tmp_path, name):
    policy, _ = networks()
    save(str(tmp_path / name), policy)
    assert os.listdir(tmp_path) == [name]
    assert load(str(tmp_path / name)).env is None


def test_a_file_that_is_not_there_is_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "x.npz")
    with pytest.raises(FileNotFoundError):
        save(tmp_path / "nowhere" / "x.npz", networks()[0])


GOOD = np.zeros(8, np.float32)  # the parameters of sizes (3, 2)
BAD_FILES = {
    "empty": b"",
    "junk": b"\x00\x01 no checkpoint" * 100,
    "text": b"hello",
    "one array": written(np.save, np.zeros(3)),
    "someone else's arrays": written(np.savez, weights=np.zeros(3)),
    "about is no text": written(np.savez, about=np.zeros(3), policy=GOOD),
    "about is no JSON": npz("{", policy=GOOD),
    "about is a list": npz(about=[1, 2], policy=GOOD),
    "about is a number": npz(about=1, policy=GOOD),
    "a later format": npz(ABOUT | {"format": "scratchpg checkpoint 2"}, policy=GOOD),
    "no parameters": npz(),
    "no sizes": npz({"format": ABOUT["format"], "env": None}, policy=GOOD),
    "no policy": npz(ABOUT | {"sizes": {"value": [3, 1]}}, value=np.zeros(4)),
    "too few parameters": npz(policy=GOOD[:-1]),
    "too many parameters": npz(policy=np.zeros(9)),
    "parameters not flat": npz(policy=GOOD.reshape(2, 4)),
    "integer parameters": npz(policy=np.zeros(8, int)),
    "text parameters": npz(policy=np.full(8, "x")),
    "NaN": npz(policy=np.full(8, np.nan)),
    "infinity": npz(policy=np.where(np.arange(8) == 7, np.inf, 0)),
    "value missing": npz(ABOUT | {"sizes": {"policy": [3, 2], "value": [3, 1]}}, policy=GOOD),
    "NaN in the value": npz(
        ABOUT | {"sizes": {"policy": [3, 2], "value": [3, 1]}}, policy=GOOD, value=np.full(4, np.nan)
    ),
    "sizes are no integers": npz(ABOUT | {"sizes": {"policy": [3.0, 2.0]}}, policy=GOOD),
    "sizes are no list": npz(ABOUT | {"sizes": {"policy": None}}, policy=GOOD),
    "one size": npz(ABOUT | {"sizes": {"policy": [3]}}, policy=GOOD),
    "negative size": npz(ABOUT | {"sizes": {"policy": [3, -2]}}, policy=GOOD),
}


def test_the_good_one_beside_the_bad_ones(tmp_path):
    (tmp_path / "x.npz").write_bytes(npz(policy=GOOD))
    assert same_bits(load(tmp_path / "x.npz").policy.theta, GOOD)


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_are_refused_by_name(tmp_path, name):
    (tmp_path / "some.npz").write_bytes(BAD_FILES[name])
    with pytest.raises(ValueError, match=r"some\.npz' is not a readable scratchpg checkpoint: .+"):
        load(tmp_path / "some.npz")


def test_a_directory_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not a readable scratchpg checkpoint"):
        load(tmp_path)


def test_a_file_cut_short_anywhere_is_refused(tmp_path):
    file, whole = tmp_path / "x.npz", npz(policy=GOOD)
    for length in range(0, len(whole), 3):
        file.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="not a readable scratchpg checkpoint"):
            load(file)


def test_a_changed_byte_anywhere_is_refused_or_harmless(tmp_path):
    file, whole = tmp_path / "x.npz", npz(policy=GOOD)
    for i in range(len(whole)):
        file.write_bytes(whole[:i] + bytes([whole[i] ^ 0xFF]) + whole[i + 1 :])
        try:
            theta = load(file).policy.theta
        except ValueError:
            continue
        assert same_bits(theta, GOOD)  # a date in the zip directory, say


class Payload:
    """Pickles into a call of os.mkdir: whoever unpickles it makes a directory."""

    def __init__(self, directory):
        self.directory = directory

    def __reduce__(self):
        return os.mkdir, (self.directory,)


@pytest.mark.parametrize("field", ["about", "policy"])
def test_a_pickled_payload_is_refused_unopened(tmp_path, field):
    trap = np.array([Payload(str(tmp_path / "sprung"))], dtype=object)
    arrays = {"about": np.array(json.dumps(ABOUT)), "policy": GOOD} | {field: trap}
    np.savez(tmp_path / "x.npz", **arrays)
    (tmp_path / "bare.npz").write_bytes(pickle.dumps(trap[0]))
    for name in ("x.npz", "bare.npz"):
        with pytest.raises(ValueError, match="not a readable scratchpg checkpoint"):
            load(tmp_path / name)
    assert not (tmp_path / "sprung").exists()
    with np.load(tmp_path / "x.npz", allow_pickle=True) as file:
        file[field]  # the trap is live: it springs for those who allow it
    assert (tmp_path / "sprung").exists()


@pytest.mark.parametrize("step", ["numpy.savez", "os.fsync", "os.replace"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failing_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step, error):
    policy, value = networks()
    save(tmp_path / "x.npz", policy)
    before = (tmp_path / "x.npz").read_bytes()

    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(step, fail)
    with pytest.raises(type(error)):
        save(tmp_path / "x.npz", policy, value)
    assert (tmp_path / "x.npz").read_bytes() == before
    assert os.listdir(tmp_path) == ["x.npz"]


def test_saving_again_replaces_the_file(tmp_path):
    policy, _ = networks()
    save(tmp_path / "x.npz", policy)
    policy.theta[:] = 7
    save(tmp_path / "x.npz", policy)
    assert (load(tmp_path / "x.npz").policy.theta == 7).all()


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_the_file_has_the_permissions_of_any_new_file(tmp_path):
    save(tmp_path / "x.npz", networks()[0])
    (tmp_path / "other").write_bytes(b"")
    assert (tmp_path / "x.npz").stat().st_mode == (tmp_path / "other").stat().st_mode
