"""Words to be written backwards, letter by letter: one reward at the end of a sequence, the case for GRPO.

The prompt is a word of LENGTH letters. Each action writes one; the last one is paid 1 if the whole answer is right, and
else 0: nobody says which letter was wrong. A random policy is right once in 10³ times. `clone` makes a beginner that is
right some times in 100, from solved words. `python examples/grpo.py --env Reversal-v0` trains it on.
"""

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete

from scratchpg import actor_critic
from scratchpg.optim import Adam
from scratchpg.rollout import minibatches

LETTERS, LENGTH = 10, 3


class Reversal(gym.Env):
    """The observation: the letters of the prompt, and the place of the next letter of the answer, each one-hot."""

    def __init__(self):
        self.observation_space = Box(0, 1, (LENGTH * LETTERS + LENGTH,), np.float32)
        self.action_space = Discrete(LETTERS)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.word, self.answer = self.np_random.integers(LETTERS, size=LENGTH), []
        return observation(self.word, 0), {}

    def step(self, action):
        self.answer.append(int(action))
        over = len(self.answer) == LENGTH
        right = over and self.answer == self.word[::-1].tolist()
        return observation(self.word, len(self.answer)), float(right), over, False, {}


def observation(word, place):
    x = np.zeros(LENGTH * LETTERS + LENGTH, np.float32)
    x[np.arange(LENGTH) * LETTERS + word] = 1
    if place < LENGTH:
        x[LENGTH * LETTERS + place] = 1
    return x


def clone(policy, rng, words=300, epochs=25):
    """Behaviour cloning: make the right letters of so many solved words more probable (in place)."""
    solved = rng.integers(LETTERS, size=(words, LENGTH))
    states = np.array([observation(word, place) for word in solved for place in range(LENGTH)])
    actions, optimiser = solved[:, ::-1].ravel(), Adam(policy.theta, 1e-3)
    for _ in range(epochs):
        for i in minibatches(len(states), 64, rng):
            optimiser.step(actor_critic.gradient(policy, states[i], actions[i], np.ones(len(i))))


if "Reversal-v0" not in gym.registry:
    gym.register("Reversal-v0", Reversal, disable_env_checker=True, order_enforce=False)
