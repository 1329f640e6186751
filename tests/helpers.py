"""What several tests share: random networks, the longdouble check of a gradient, complex steps, equal bits, copies,
the number of trajectories."""

import copy
import pickle

import gymnasium as gym
import numpy as np
from hypothesis import strategies as st

from scratchpg import demonstrations, rlfd
from scratchpg.gradcheck import check_gradient

LD = np.longdouble
SEEDS = st.integers(0, 2**32 - 1)  # arrays are drawn from a seed, so that Hypothesis shrinks sizes and not fifty floats
ROWS = st.integers(1, 4)
ACTIONS = st.integers(2, 6)
SCALES = st.sampled_from([0.1, 1.0, 30.0])  # how far logits lie from 0
COPIES = [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]  # ways to an object of its own


def shapes(outputs=ROWS):
    """Sizes of a network: 1 to 4 inputs, up to three hidden layers, none among them."""
    hidden = st.lists(st.integers(1, 5), max_size=3)
    return st.builds(lambda n, hs, m: (n, *hs, m), st.integers(1, 4), hidden, outputs)


def random_network(kind, sizes, rng, scale=1.0):
    """An MLP, a SoftmaxPolicy or a Value in longdouble with θ ~ N(0, 1) and outputs that lie about `scale` apart.

    They are set apart by the last biases: weights that large would bend the loss more than a difference can follow.
    """
    network = kind(sizes, dtype=LD)
    network.theta[:] = rng.standard_normal(network.theta.shape)
    b = getattr(network, "net", network).layers[-1][1][0]
    b[:] = rng.uniform(-scale, scale, b.shape)
    return network


def check(f, gradient, theta):
    """The claim of this library: an error of at most 1e-9 of each component, in extended precision."""
    check_gradient(f, gradient, theta, rtol=1e-9)


def assert_complex_step(f, gradient, theta):
    """The gradient is Im f(θ + ih e_i) / h to 1e-13: no difference is taken here, so nothing cancels."""
    h = 1e-30
    expected = np.array([f(theta + h * 1j * e).imag / h for e in np.eye(len(theta))])
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-13 * max(1, abs(expected).max()))


def same_bits(a, b):
    """Equal in dtype, shape and every bit (not for longdouble, whose padding is anything)."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def count_trajectories(mdp):
    """How many trajectories the tables allow, by recursion over the states: none is listed."""
    links = (mdp.transition > 0).sum(axis=1)  # the number of actions that lead from s to s'
    ways = np.ones(mdp.start.size)
    for _ in range(mdp.horizon):
        ways = np.where(mdp.terminal, 1, links @ ways)
    return ways[mdp.start > 0].sum()


def rlfd_on_cartpole(env, policy, value, **settings):
    """RLfD's `train`, with one episode of a policy that always pushes to the left."""
    few = demonstrations.record(lambda states: np.zeros(len(states), int), gym.make("CartPole-v1"), seed=0)
    return rlfd.train(env, policy, value, few, **settings)
