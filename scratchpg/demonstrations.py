"""Demonstrations: whole episodes of an expert. An expert is any function from states to actions."""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from .plumbing import AnyEnv, Array, check, checkpoint
from .plumbing.run import undisturbed
from .rollout import Collector


class Expert:
    """π*: a function of states (B, observation), as networks see them, to actions: (B,) in 0 … A-1, or (B, d).

    It can be used as a policy, by a Collector and by `evaluate`. ValueError for actions that are not legal.
    """

    theta = np.zeros(0, np.float32)  # nothing to learn; states come in its dtype

    def __init__(self, function: Callable[[Array], Any], env: AnyEnv) -> None:
        if not callable(function):
            raise TypeError(f"expert must be a function of states that returns actions, not {function!r}")
        self.function = function
        self.actions = "Box" if check.has_box(env) else "Discrete"
        self.outputs = check.action_size(env, self.actions)
        self.net = SimpleNamespace(sizes=(check.observation_size(env), self.outputs))

    def __call__(self, states: Array) -> Any:
        """A distribution that is one action, π*(s), in each row."""
        actions, n, box = np.asarray(self.function(states)), self.outputs, self.actions == "Box"
        shape, kinds, low, high = ((len(states), n), "fiu", -np.inf, np.inf) if box else ((len(states),), "iu", -1, n)
        if actions.shape != shape or actions.dtype.kind not in kinds or not ((low < actions) & (actions < high)).all():
            what = f"finite numbers of shape {shape}" if box else f"integers in 0 … {n - 1} of shape {shape}"
            raise ValueError(f"actions of the expert must be {what}, not {check.describe(actions)}: {actions}")
        return SimpleNamespace(mode=lambda: actions, sample=lambda rng: actions)


@dataclass(eq=False)
class Demonstrations:
    """Steps of whole episodes, and their environment: its id, and the sizes of observations and actions."""

    states: Array  # (B, observation)
    actions: Array  # (B,), 0 … A-1; or (B, d)
    returns: Array  # (B,): the undiscounted return of the step's episode
    env: dict[str, Any]

    def fit(self, env: AnyEnv) -> None:
        """Raise unless there are steps, and the environment is like theirs. Ids are compared if both have one."""
        check.rows(self.states, returns=self.returns)
        for name, needs in _about(env).items():
            if (has := self.env[name]) != needs and None not in (has, needs):
                raise ValueError(f"the demonstrations are of an environment whose {name} is {has}, not {needs}")

    def save(self, path: checkpoint.File) -> None:
        """Write them to an .npz file: all of it or nothing."""
        checkpoint.write(path, self.env, {name: x for name, x in vars(self).items() if name != "env"})


def load(path: checkpoint.File) -> Demonstrations:
    """Read demonstrations. ValueError for a file that is corrupt or holds anything else."""
    with checkpoint.opened(path, "file of demonstrations") as (about, arrays):
        return Demonstrations(**arrays, env=about)


def record(expert: Any, env: AnyEnv, *, episodes: int = 1, seed: int | None = None) -> Demonstrations:
    """Record whole episodes of an expert, or of a policy, whose actions are then drawn."""
    driver = expert if hasattr(expert, "theta") else Expert(expert, env)
    with undisturbed():
        batch = Collector(env, driver, seed).collect_episodes(episodes)
    columns = batch.states[:-1], batch.actions, batch.rewards, batch.ended
    states, actions, rewards, ended = (x.swapaxes(0, 1)[batch.valid.T] for x in columns)  # episode after episode
    episode = ended.cumsum() - ended
    return Demonstrations(states, actions, np.bincount(episode, rewards)[episode], _about(env))


def _about(env: AnyEnv) -> dict[str, Any]:
    like = Expert(len, env)
    return {"id": env.spec and env.spec.id, "inputs": like.net.sizes[0], "actions": f"{like.actions} {like.outputs}"}
