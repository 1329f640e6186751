"""Save and load: the same bits come back, a file that is not whole or not ours is refused, nothing is unpickled."""

import io
import json
import os
import pickle
import re
import subprocess
import sys
import typing
from pathlib import Path

import numpy as np
import pytest
from helpers import same_bits

import scratchpg
from scratchpg import MLP, SoftmaxPolicy, Value, load, save
from scratchpg.plumbing.checkpoint import FORMAT, FORMAT_2, FORMAT_3

POLICY = {"class": "SoftmaxPolicy", "sizes": [3, 2], "options": {}}
VALUE = {"class": "Value", "sizes": [3], "options": {}}
ABOUT = {"format": FORMAT, "env": None, "policy": POLICY}


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


def test_the_environment_and_a_state_come_back(tmp_path):
    """Arrays as they are; what JSON holds as JSON does."""
    state = {"a.x": np.arange(3, dtype=np.uint8), "a.n": 2**70, "b.x": np.zeros((0, 2)), "b.y": {"z": [0.1, None]}}
    save(tmp_path / "x.npz", networks()[0], env="Some-v0", env_args={"slippery": False, "map": ["SF"]}, state=state)
    loaded = load(tmp_path / "x.npz")
    assert (loaded.env, loaded.env_args) == ("Some-v0", {"slippery": False, "map": ["SF"]})
    assert loaded.state.keys() == state.keys()
    for name, x in state.items():
        assert same_bits(loaded.state[name], x) if isinstance(x, np.ndarray) else loaded.state[name] == x


def test_what_no_file_can_hold_is_refused_and_the_old_file_stays(tmp_path):
    save(tmp_path / "x.npz", networks()[0], env="Some-v0")
    for wrong in {"env_args": {"x": {1}}}, {"state": {"a.x": Payload("")}}, {"state": {"a.x": np.array([None])}}:
        with pytest.raises(TypeError, match="not JSON serializable"):
            save(tmp_path / "x.npz", networks()[0], **wrong)
    assert load(tmp_path / "x.npz").env == "Some-v0" and os.listdir(tmp_path) == ["x.npz"]


def test_a_file_of_format_3_is_read(tmp_path):
    (tmp_path / "x.npz").write_bytes(npz(ABOUT | {"format": FORMAT_3, "env": "CartPole-v1"}, policy=GOOD))
    loaded = load(tmp_path / "x.npz")
    assert same_bits(loaded.policy.theta, GOOD)
    assert (loaded.value, loaded.env, loaded.env_args, loaded.state) == (None, "CartPole-v1", {}, {})


def test_a_file_of_format_2_is_read(tmp_path):
    """As that version wrote it, with kinds for classes, and the value's output among its sizes."""
    policy, value = networks()
    about = {
        "format": FORMAT_2,
        "env": "CartPole-v1",
        "policy": {"kind": "softmax", "sizes": [3, 4, 2], "dtype": "float32"},
        "value": {"kind": "state value", "sizes": [3, 5, 1], "dtype": "float32"},
    }
    for last in "value", "policy":
        arrays = {"policy": policy.theta} | ({"value": value.theta} if "value" in about else {})
        (tmp_path / "x.npz").write_bytes(npz(about, **arrays))
        loaded = load(tmp_path / "x.npz")
        assert repr(loaded.policy) == repr(policy) and same_bits(loaded.policy.theta, policy.theta)
        if last == "value":
            assert repr(loaded.value) == repr(value) and same_bits(loaded.value.theta, value.theta)
            del about["value"]
    assert loaded.value is None and loaded.env == "CartPole-v1"


class Warm(SoftmaxPolicy):
    """A policy of one's own, with an option."""

    def __init__(self, sizes, rng=None, *, theta=None, dtype=np.float32, temperature=1.0):
        super().__init__(sizes, rng, theta=theta, dtype=dtype)
        self.options = {"temperature": temperature}


class Twin:
    """Holds a class with the name of one of the library's, which acts otherwise."""

    class SoftmaxPolicy(SoftmaxPolicy):
        def __call__(self, states):
            return super().__call__(-states)

    SoftmaxPolicy.__qualname__ = "SoftmaxPolicy"


def local_class():
    class Local(SoftmaxPolicy):
        pass

    return Local


@pytest.mark.parametrize("kind", [Warm, Twin.SoftmaxPolicy, local_class()], ids=["top", "of our name", "local"])
def test_a_subclass_is_loaded_as_itself_or_not_at_all(tmp_path, kind):
    save(tmp_path / "x.npz", kind((3, 4, 2), rng=0))
    for others in [], [SoftmaxPolicy], [Value]:
        with pytest.raises(ValueError, match="give load such a class, after the path"):
            load(tmp_path / "x.npz", *others)
    policy = load(tmp_path / "x.npz", Value, kind).policy
    assert type(policy) is kind


class Tempered(SoftmaxPolicy):
    """Divides its logits by an attribute of its own, which no file holds."""

    def __init__(self, *args, temperature=1.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.temperature = temperature


class Told(Tempered):
    """Tells it."""

    @property
    def options(self):
        return {"temperature": self.temperature}


class Forgotten(Tempered):
    """Tells another one."""

    options: typing.ClassVar = {"temperature": 2.0}


class Wide(MLP):
    """A net that computes otherwise."""


def with_another_net(kind=SoftmaxPolicy):
    policy = kind((3, 4, 2), rng=0)
    policy.net = Wide((3, 4, 2), rng=0)
    return policy


@pytest.mark.parametrize(
    ("policy", "lost"),
    [
        (Tempered((3, 4, 2), rng=0, temperature=0.5), "temperature"),
        (Forgotten((3, 4, 2), rng=0), "temperature"),
        (with_another_net(), "its net"),
        (with_another_net(Told), "its net"),
    ],
)
def test_a_network_that_would_come_back_as_another_is_refused(tmp_path, policy, lost):
    save(tmp_path / "x.npz", Told((3, 4, 2), rng=0, temperature=0.5))
    before = (tmp_path / "x.npz").read_bytes()
    with pytest.raises(TypeError, match=f"can't be made anew: its `options` do not tell {lost}"):
        save(tmp_path / "x.npz", policy)
    assert (tmp_path / "x.npz").read_bytes() == before and load(tmp_path / "x.npz", Told).policy.temperature == 0.5
    save(tmp_path / "x.npz", Tempered((3, 4, 2), rng=0))  # as its class has it by itself


def test_a_value_of_ones_own_is_loaded_as_itself_or_not_at_all(tmp_path):
    class Doubled(Value):
        def __call__(self, states):
            return 2 * super().__call__(states)

    policy, _ = networks()
    save(tmp_path / "x.npz", policy, Doubled((3, 5), rng=1))
    with pytest.raises(ValueError, match=r"its value is a .*Doubled: give load such a class, after the path"):
        load(tmp_path / "x.npz")
    assert type(load(tmp_path / "x.npz", Doubled).value) is Doubled


def test_networks_of_other_names_and_of_classes_of_ones_own(tmp_path):
    _, value = networks()
    warm, target = Warm((3, 4, 2), rng=0, temperature=0.5), Value((3, 7), rng=2)
    save(tmp_path / "x.npz", warm, value, target=target)
    with pytest.raises(ValueError, match=rf"its policy is a {__name__}\.Warm: give load such a class, after the path"):
        load(tmp_path / "x.npz")
    loaded = load(tmp_path / "x.npz", Warm)
    assert type(loaded.policy) is Warm and loaded.policy.options == {"temperature": 0.5}
    for name, network in {"policy": warm, "value": value, "target": target}.items():
        assert same_bits(getattr(loaded, name).theta, network.theta)


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


GOOD, GOOD_VALUE = np.zeros(8, np.float32), np.zeros(4, np.float32)  # the parameters of sizes (3, 2) and (3, 1)


def said(array, **changes):
    """A file that holds this array as its policy, and says something else of it than it should."""
    return npz(ABOUT | {"policy": POLICY | changes}, policy=array)


def with_value(array, **changes):
    """A good policy, and this array as the value."""
    return npz(ABOUT | {"value": VALUE | changes}, policy=GOOD, value=array)


NO_NPZ = "it is no .npz file, or not the whole of one"
BAD_FILES = {  # each with what the message says of it
    "empty": (b"", NO_NPZ),
    "junk": (b"\x00\x01 no checkpoint" * 100, NO_NPZ),
    "text": (b"hello", NO_NPZ),
    "one array": (written(np.save, np.zeros(3)), NO_NPZ),
    "a pickle": (pickle.dumps(GOOD), NO_NPZ),
    "half of one": (npz(policy=GOOD)[:300], NO_NPZ),
    "someone else's arrays": (written(np.savez, weights=np.zeros(3)), "it has no 'about'"),
    "about is no text": (written(np.savez, about=np.zeros(3), policy=GOOD), "array of size 1"),
    "about is no JSON": (npz("{", policy=GOOD), "line 1 column 2"),
    "about is a list": (npz(about=[1, 2], policy=GOOD), "list"),
    "about is a number": (npz(about=1, policy=GOOD), "int"),
    "a later format": (
        npz(ABOUT | {"format": "scratchpg checkpoint 5"}, policy=GOOD),
        "its format is 'scratchpg checkpoint 5', not 'scratchpg checkpoint 4'",
    ),
    "arguments that are none": (npz(ABOUT | {"env_args": [1]}, policy=GOOD), "sequence"),
    "a state that is none": (npz(ABOUT | {"state": [1]}, policy=GOOD), "'list'"),
    "an environment is no id": (npz(ABOUT | {"env": 3}, policy=GOOD), "or its env no id: 3"),
    "no format": (npz({"policy": POLICY}, policy=GOOD), "it has no 'format'"),
    "no parameters": (npz(), "it has no 'policy'"),
    "no policy": (npz({"format": FORMAT, "env": None, "value": VALUE}, value=GOOD_VALUE), "it has no 'policy'"),
    "no class": (npz(ABOUT | {"policy": {"sizes": [3, 2]}}, policy=GOOD), "it has no 'class'"),
    "no sizes": (npz(ABOUT | {"policy": {"class": "SoftmaxPolicy"}}, policy=GOOD), "it has no 'sizes'"),
    "no value": (npz(ABOUT | {"value": VALUE}, policy=GOOD), "it has no 'value'"),
    "another class": (said(GOOD, **{"class": "Nonsense"}), "its policy is a Nonsense: give load such a class, after"),
    "a value for the policy": (said(GOOD, **{"class": "Value"}), "its policy is a Value: give load such a class"),
    "a net for the policy": (said(GOOD, **{"class": "MLP"}), "its policy is a MLP: give load such a class"),
    "a function for the policy": (
        said(GOOD, **{"class": "evaluate"}),
        "its policy is a evaluate: give load such a class",
    ),
    "a policy for the value": (
        with_value(GOOD, **{"class": "SoftmaxPolicy"}),
        "its value is a SoftmaxPolicy: give load",
    ),
    "unknown options": (said(GOOD, options={"depth": 3}), "unexpected keyword argument 'depth'"),
    "too few parameters": (npz(policy=GOOD[:-1]), "shape (8,) for sizes (3, 2), not an array float32 (7,)"),
    "too many parameters": (npz(policy=np.zeros(9)), "shape (8,) for sizes (3, 2), not an array float64 (9,)"),
    "parameters not flat": (npz(policy=GOOD.reshape(2, 4)), "not an array float32 (2, 4)"),
    "integer parameters": (npz(policy=np.zeros(8, int)), "must be a flat floating-point array"),
    "text parameters": (npz(policy=np.full(8, "x")), "must be a flat floating-point array"),
    "NaN": (npz(policy=np.full(8, np.nan, np.float32)), "the parameters of the policy must be finite"),
    "infinity": (npz(policy=np.where(np.arange(8) == 7, np.inf, GOOD)), "parameters of the policy[7] is inf"),
    "NaN in the value": (with_value(GOOD_VALUE * np.nan), "the parameters of the value must be finite"),
    "a value with a layer more": (with_value(GOOD_VALUE, sizes=[3, 2]), "of shape (11,) for sizes (3, 2, 1), not"),
    "sizes are no integers": (said(GOOD, sizes=[3.0, 2.0]), "integers of at least 1, not (3.0, 2.0)"),
    "sizes are no list": (said(GOOD, sizes=None), "'NoneType' object is not iterable"),
    "one size": (said(GOOD, sizes=[3]), "integers of at least 1, not (3,)"),
    "negative size": (said(GOOD, sizes=[3, -2]), "integers of at least 1, not (3, -2)"),
}


def test_the_good_one_beside_the_bad_ones(tmp_path):
    (tmp_path / "x.npz").write_bytes(npz(policy=GOOD))
    assert same_bits(load(tmp_path / "x.npz").policy.theta, GOOD)


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_are_refused_by_name_and_reason(tmp_path, name):
    content, reason = BAD_FILES[name]
    (tmp_path / "some.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"some\.npz' is not a readable scratchpg checkpoint: .+") as refusal:
        load(tmp_path / "some.npz")
    assert reason in str(refusal.value)


def test_what_a_file_says_of_itself(tmp_path):
    policy, value = networks(np.float64)
    save(tmp_path / "x.npz", policy, value, env="CartPole-v1")
    with np.load(tmp_path / "x.npz") as file:
        assert sorted(file) == ["about", "policy", "value"]
        assert json.loads(file["about"].item()) == {
            "format": FORMAT,
            "env": "CartPole-v1",
            "env_args": {},
            "state": {},
            "policy": {"class": "SoftmaxPolicy", "sizes": [3, 4, 2], "options": {}},
            "value": {"class": "Value", "sizes": [3, 5], "options": {}},
        }
    parameters = policy.theta.nbytes + value.theta.nbytes
    assert (tmp_path / "x.npz").stat().st_size < parameters + 2_000  # and not much beside the parameters


def test_a_directory_is_refused(tmp_path):
    with pytest.raises(IsADirectoryError, match=re.escape(str(tmp_path))):
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
    for name, reason in ("x.npz", "it holds pickled data"), ("bare.npz", "it is no .npz file"):
        with pytest.raises(ValueError, match=f"not a readable scratchpg checkpoint: {reason}"):
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


KILLER = """
import itertools, os, random, signal, sys, time
from scratchpg import SoftmaxPolicy, Value, load, save

policy, value = SoftmaxPolicy((40, 64, 4), rng=0), Value((40, 64), rng=0)
policy.theta[:] = value.theta[:] = 1
save(sys.argv[1], policy, value)
begin = time.perf_counter()
save(sys.argv[1], policy, value)
seconds = time.perf_counter() - begin
random.seed(0)
reads, says = os.pipe()
for i in range(60):
    writer = os.fork()
    if not writer:
        os.write(says, b".")
        for number in itertools.cycle([1 + i % 2, 2 - i % 2]):  # so that slow writers, too, leave both
            policy.theta[:] = value.theta[:] = number
            save(sys.argv[1], policy, value)
    os.read(reads, 1)  # it has begun
    time.sleep(random.uniform(0, 8 * seconds))
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    found = load(sys.argv[1])
    print(*{*found.policy.theta, *found.value.theta})
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks the writers")
def test_a_writer_killed_at_any_instant_leaves_the_old_file_or_the_new_one(tmp_path):
    """60 processes that save a network of 1s and one of 2s by turns, each killed within the time of eight saves."""
    result = subprocess.run(
        [sys.executable, "-c", KILLER, tmp_path / "x.npz"],
        env=os.environ | {"PYTHONPATH": str(Path(scratchpg.__file__).parents[1]), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    found = result.stdout.split("\n")[:-1]
    assert len(found) == 60 and {*found} == {"1.0", "2.0"}, result.stderr  # never two numbers in one file
    left = [name for name in os.listdir(tmp_path) if name != "x.npz"]
    assert left and all(re.fullmatch(r"x\.npz\.\d+\.tmp", name) for name in left)  # killed while they wrote


def test_only_files_are_replaced(tmp_path):
    """A link's target is written, the link stays; a pipe, a device or a directory is refused."""
    (tmp_path / "link.npz").symlink_to(tmp_path / "x.npz")
    save(tmp_path / "link.npz", networks()[0])
    assert (tmp_path / "link.npz").is_symlink() and load(tmp_path / "x.npz").env is None
    os.mkfifo(tmp_path / "pipe")
    for path in tmp_path / "pipe", tmp_path:
        with pytest.raises(OSError, match="must be a file, not a directory or a device"):
            save(path, networks()[0])
