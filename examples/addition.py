"""Sums of two numbers below 100, written digit by digit: one reward at the end of a sequence, the case for GRPO.

The prompt is a + b. The answer has three digits, the units first, so that the carry is there when it is needed: for
37 + 58 it is 5, 9, 0. Each action writes a digit; the last one is paid 1 if all three are right, and else 0.
`clone` makes a beginner, from some solved sums. `python examples/grpo.py --env Addition-v0` trains it.
"""

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete

from scratchpg import actor_critic
from scratchpg.optim import Adam

DIGITS = 3  # of an answer


class Addition(gym.Env):
    """The observation: the digits of a and b, those written so far and the place of the next, each one-hot."""

    def __init__(self):
        self.observation_space, self.action_space = Box(0, 1, (40 + 10 * (DIGITS - 1) + DIGITS,), np.float32), Discrete(10)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.numbers, self.written = self.np_random.integers(100, size=2), []
        return observation(self.numbers, self.written), {}

    def step(self, action):
        self.written.append(int(action))
        over = len(self.written) == DIGITS
        right = over and self.written == answer(self.numbers)
        return observation(self.numbers, self.written), float(right), over, False, {}


def answer(numbers):
    """The digits of the sum, from the units on."""
    total = int(sum(numbers))
    return [total // 10**i % 10 for i in range(DIGITS)]


def observation(numbers, written):
    x = np.zeros(40 + 10 * (DIGITS - 1) + DIGITS, np.float32)
    for i, digit in enumerate([*(int(n) // 10**i % 10 for n in numbers for i in range(2)), *written[: DIGITS - 1]]):
        x[10 * i + digit] = 1
    if len(written) < DIGITS:
        x[len(written) - DIGITS] = 1
    return x


def clone(policy, sums, steps, rng):
    """Behaviour cloning: make the right digits of so many solved sums more probable (in place)."""
    solved = [(numbers, answer(numbers)) for numbers in rng.integers(100, size=(sums, 2))]
    states = np.array([observation(numbers, digits[:i]) for numbers, digits in solved for i in range(DIGITS)])
    actions, optimiser = np.array([digits for _, digits in solved]).ravel(), Adam(policy.theta, 3e-3)
    for _ in range(steps):
        optimiser.step(actor_critic.gradient(policy, states, actions, np.ones(len(actions))))


gym.register("Addition-v0", Addition, disable_env_checker=True, order_enforce=False)
