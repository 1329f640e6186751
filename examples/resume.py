"""Going on, bit for bit, where a run stopped: what `--save` keeps beside the networks, and what `--load` does with it.

What changes from update to update is held by the parts of a run, in the attributes that their `kept` names: by an
optimiser θ and what it remembers of the gradients, by the collector its counts, its generators and where its episodes
stand. All this is arrays and numbers. How far a schedule is follows from the number of steps.

Only an environment can not be written to a file. But its seed and what it is told decide all that it does; so note is
taken of every action, and an environment that is told the same again comes to where it stood. In a file that is a byte
for a discrete action and four for each number of another; telling it again takes as long as the environment alone took.

    loop = ppo.train(env, policy, value, seed=0)
    resume.record(loop)                                                    then iterate, as far as you like
    save("run.npz", policy, value, state=resume.state(loop))

    loaded = load("run.npz")                                               later, elsewhere
    loop = ppo.train(env, loaded.policy, loaded.value, seed=0)             all else as before
    resume.go_on(loop, loaded.state)                                       then iterate
"""

import json
from collections import deque

import numpy as np

from scratchpg.plumbing import check, undisturbed


class Recorded:
    """The environments of a collector, and note of what they are told after they were seeded."""

    def __init__(self, collector):
        self.envs, self.rows = collector.envs, 0
        shape, actions = collector.envs.action_shape, collector.policy.outputs
        kind = collector.policy.theta.dtype if shape else np.min_scalar_type(actions - 1)  # such as uint8
        self.actions = np.zeros((1_000, self.envs.n, *shape), kind)  # a row for each step, and room for more
        self.begins = []  # the rows before which all began anew

    def __getattr__(self, name):
        return getattr(self.envs, name)

    def reset(self, seed=None):
        self.begins.append(self.rows)
        return self.envs.reset(seed)

    def step(self, actions):
        if self.rows == len(self.actions):
            self.actions = np.resize(self.actions, (2 * self.rows, *self.actions.shape[1:]))
        self.actions[self.rows] = actions
        self.rows += 1
        return self.envs.step(actions)

    def told(self):
        """All of it, to be kept."""
        return {"told.actions": self.actions[: self.rows], "told.begins": np.array(self.begins, int)}

    def tell(self, states, actions, begins):
        """The same again; returns the observations to which it leads from these, the first ones."""
        begins = set(begins.tolist())
        for row, told in enumerate(actions if self.envs.action_shape else actions.astype(int)):
            if row in begins:
                states = self.reset()
            states, *_ = self.step(told)
        return states


def record(loop):
    """From now on take note for `state`. loop: what a chapter's `train` returned; one without parts can't go on."""
    if parts := getattr(loop, "parts", {}):
        if loop.begun:
            raise ValueError("a run is recorded, or goes on, from before its first update")
        parts["collector"].envs = Recorded(parts["collector"])


def state(loop):
    """Where a recorded run stands between two updates, by name, as arrays and what JSON can hold; {} without parts."""
    parts = getattr(loop, "parts", {})
    held = {f"{part}.{name}": plain(getattr(x, name)) for part, x in parts.items() for name in x.kept}
    return held | parts["collector"].envs.told() if parts else {}


def plain(x):
    """A copy of what a part holds."""
    if isinstance(x, np.random.Generator):
        x = x.bit_generator.state
    if isinstance(x, dict):  # of a generator; some kinds have arrays in it
        return json.loads(json.dumps(x, default=np.ndarray.tolist))
    return x.copy() if isinstance(x, np.ndarray) else list(x) if isinstance(x, deque) else x


def go_on(loop, saved):
    """Bring a run that was made in the same way, but not begun, to where it stood when `saved` was its `state`.

    ValueError if it was made otherwise, or if its environments do not come to where they stood.
    """
    record(loop)
    own = state(loop)
    if own.keys() != saved.keys():
        raise ValueError(f"the state must be of such a run, but only one of the two has {sorted(own.keys() ^ saved)}")
    for name, x in own.items():
        refuse_unlike(name, x, saved[name])
    if own["collector.origin"] != saved["collector.origin"]:
        raise ValueError("the run must be made with the seed of the run that goes on")
    collector = loop.parts["collector"]
    with undisturbed():
        states = collector.envs.tell(collector.state, saved["told.actions"], saved["told.begins"])
    if not np.array_equal(states.astype(saved["collector.state"].dtype), saved["collector.state"]):
        reason = "its seed does not decide all that happens, or it is another one now"
        raise ValueError(f"the environments did not come to where they stood: {reason}")
    for part, x in loop.parts.items():
        for name in x.kept:
            put(x, name, saved[f"{part}.{name}"])
    loop.steps = collector.steps


def refuse_unlike(name, own, saved):
    """Raise ValueError unless what is saved can take the place of a run's own."""
    fits = type(saved) is type(own)
    if fits and isinstance(own, np.ndarray):
        first = 1 if name.startswith("told.") else 0  # of these there may be any number
        fits = saved.ndim == own.ndim and saved.shape[first:] == own.shape[first:]
        fits &= saved.dtype == own.dtype or name == "collector.state"  # which is the environment's at first
    if not fits:
        expected = check.describe(own) if isinstance(own, np.ndarray) else f"of {type(own)}"
        raise ValueError(f"{name} must be {expected}, not {check.describe(saved)}")
    if isinstance(own, np.ndarray):
        check.finite(name, saved)


def put(part, name, saved):
    """Give back to a part what it held."""
    own = getattr(part, name)
    if isinstance(own, np.random.Generator):
        own.bit_generator.state = saved
    elif isinstance(own, deque):
        own.extend(saved)
    elif name == "theta":
        own[:] = saved  # in place, as it is the network's, too
    else:
        setattr(part, name, plain(saved))


def run_that_goes_on(saved, asked):
    """What was noted of the run whose state is saved, and None; or {} and why a new run begins instead.

    asked: what the command line says of the run; what it does not say is as it was.
    """
    asked = json.loads(json.dumps(asked))  # as it comes from a file: a tuple is a list
    if "run" not in saved:
        return {}, "it holds no run that can go on"
    run, steps = saved["run"], saved["collector.steps"]
    if others := [name for name in asked if name != "total_steps" and run.get(name) != asked[name]]:
        return {}, f"its run is one with {', '.join(f'{name}={run.get(name)!r}' for name in others)}"
    if steps >= asked.get("total_steps", run["total_steps"]):
        return {}, f"its run has made {steps:,} steps already (--steps for more)"
    return {name: tuple(x) if isinstance(x, list) else x for name, x in run.items()}, None
