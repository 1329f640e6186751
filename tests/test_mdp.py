"""Finite MDPs: two routes to J and ∇J, the tables against the environment, the doors. (The equations: derivation/.)"""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import find_highest_version
from gymnasium.utils.env_checker import check_env
from helpers import count_trajectories
from hypothesis import given
from hypothesis import strategies as st

from scratchpg import FiniteMDP, SoftmaxPolicy, evaluate, reinforce

TABLES = [f"{name}-v{find_highest_version(None, name)}" for name in ("FrozenLake", "CliffWalking", "Taxi")]


def policy_for(mdp, seed=0, hidden=(), dtype=np.float64):
    S, A = mdp.transition.shape[:2]
    policy = SoftmaxPolicy((S, *hidden, A), dtype=dtype)
    policy.theta[:] = np.random.default_rng(seed).standard_normal(len(policy.theta))
    return policy


def random_mdp(seed, S=3, A=2, horizon=3, ends=True):
    """Random tables; the last state is terminal."""
    rng = np.random.default_rng(seed)
    transition = rng.dirichlet(np.full(S, 0.5), (S, A))
    terminal = (np.arange(S) == S - 1) & ends & (S > 1)
    start = rng.random(S) * ~terminal
    return FiniteMDP(start / start.sum(), transition, rng.normal(size=(S, A, S)), horizon=horizon, terminal=terminal)


def there_and_back(**changes):
    """0 → 1 → 2 by action 1, 2 is terminal; action 0 goes back to 0. The reward is the number of the new state."""
    transition = np.zeros((3, 2, 3))
    transition[:, 0, 0] = transition[0, 1, 1] = transition[1, 1, 2] = transition[2, 1, 2] = 1
    reward = np.broadcast_to([0.0, 1.0, 2.0], (3, 2, 3))
    arguments = {"horizon": 3, "terminal": [False, False, True]} | changes
    return FiniteMDP([1, 0, 0], transition, reward, **arguments)


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(2, 3), st.integers(1, 4), st.floats(0, 1), st.booleans()
)
def test_two_routes_agree(seed, S, A, horizon, gamma, ends):
    mdp = random_mdp(seed, S, A, horizon, ends)
    policy = policy_for(mdp, seed, hidden=(2,))
    trajectories = mdp.trajectories(policy)
    assert len(trajectories.probability) == count_trajectories(mdp)
    assert abs(trajectories.probability.sum() - 1) < 1e-12
    assert abs(trajectories.objective(gamma) - mdp.objective(policy, gamma)) < 1e-12
    assert abs(trajectories.gradient(policy, gamma) - mdp.gradient(policy, gamma)).max() < 1e-12


@pytest.mark.parametrize("dtype", [np.float32, np.longdouble, np.complex128])
def test_any_dtype(dtype):
    mdp = random_mdp(seed=1)
    exact, policy = policy_for(mdp), policy_for(mdp, dtype=dtype)
    policy.theta[:] = exact.theta
    assert policy.theta.dtype == dtype
    tolerance = 1e-5 if dtype is np.float32 else 1e-14
    for one, other in [
        (mdp.objective(policy, 0.9), mdp.objective(exact, 0.9)),
        (mdp.gradient(policy, 0.9), mdp.gradient(exact, 0.9)),
        (mdp.trajectories(policy).objective(0.9), mdp.objective(exact, 0.9)),
        (mdp.trajectories(policy).gradient(policy, 0.9), mdp.gradient(exact, 0.9)),
    ]:
        assert abs(one - other).max() < tolerance
    assert mdp.gradient(policy, 0.9).dtype == dtype


def test_by_hand():
    """Either action with probability ½, γ = ½. V_1(0) = ½ (0 + ½ ½) + ½ (1 + ½ 1), and so on, from the last row up."""
    mdp = there_and_back()
    policy = SoftmaxPolicy((3, 2), theta=np.zeros(8))
    trajectories = mdp.trajectories(policy)
    assert sorted(trajectories.probability) == [1 / 8] * 6 + [1 / 4]
    V, Q = mdp.values(policy, 0.5)
    assert V.tolist() == [[1.0, 1.21875, 0], [0.875, 1.125, 0], [0.5, 1.0, 0], [0, 0, 0]]
    assert Q[2].tolist() == [[0, 1], [0, 2], [0, 0]]
    occupancy = np.einsum("k,tks->ts", trajectories.probability, trajectories.states)  # P(s_t = s)
    assert occupancy.tolist() == [[1, 0, 0], [0.5, 0.5, 0], [0.5, 0.25, 0.25], [0.375, 0.25, 0.375]]
    V = np.array([1.0, 2.0, 100.0])  # what V says of the terminal state does not count
    assert mdp.bellman_q(V, 0.5).tolist() == [[0.5, 2], [0.5, 2], [0, 0]]
    assert mdp.bellman(policy, V, 0.5).tolist() == [1.25, 1.25, 0]


def test_stationary_values_are_what_bellman_leaves_as_it_is():
    mdp = random_mdp(0)
    policy = policy_for(mdp)
    V = mdp.stationary_values(policy(np.eye(3)), 0.9)
    np.testing.assert_allclose(mdp.bellman(policy, V, 0.9), V, rtol=0, atol=1e-12)
    assert V.any() and not V[mdp.terminal].any()


def test_trajectories_are_a_batch():
    """Rows after the end are invalid, pay nothing and end nothing; the last row of the horizon terminates."""
    batch = there_and_back().trajectories(SoftmaxPolicy((3, 2), theta=np.zeros(8)))
    short = batch.probability == 1 / 4
    assert batch.valid[:, short].T.tolist() == [[True, True, False]]
    assert batch.terminated[:, short].T.tolist() == [[False, True, False]]
    assert batch.rewards[:, short].T.tolist() == [[1, 2, 0]]
    assert batch.terminated[:, ~short].T.tolist() == [[False, False, True]] * 6
    assert batch.valid[:, ~short].all()
    assert not batch.truncated.any()
    assert (batch.states.sum(axis=2) == 1).all()
    assert batch.states.shape == (4, 7, 3)
    states, actions, t = batch.samples(batch.t)
    assert len(states) == len(actions) == 6 * 3 + 2
    assert t.max() == 2


def test_environment_follows_the_tables():
    """Every step is one that the tables allow, pays what they say, and ends where they say; and every one occurs."""
    mdp = random_mdp(seed=4, S=4, A=2, horizon=5)
    check_env(mdp, skip_render_check=True)
    rng, seen = np.random.default_rng(0), set()
    s, _ = mdp.reset(seed=0)
    for _ in range(3000):
        a, t = int(rng.integers(2)), mdp.t
        next_s, reward, terminated, truncated, _ = mdp.step(a)
        assert mdp.transition[s, a, next_s] > 0
        assert reward == mdp.reward[s, a, next_s]
        assert terminated == (mdp.terminal[next_s] or t == mdp.horizon - 1)
        assert not truncated
        seen.add((s, a, next_s))
        s = mdp.reset()[0] if terminated else next_s
        assert not mdp.terminal[s]
        assert s == next_s or mdp.start[s] > 0
    likely = (mdp.transition > 0.01) & ~mdp.terminal[:, None, None]
    assert seen >= set(zip(*(i.tolist() for i in np.nonzero(likely)), strict=True))


def test_deterministic_environment():
    mdp = there_and_back()
    assert mdp.reset(seed=1) == (0, {})
    assert mdp.step(1) == (1, 1.0, False, False, {})
    assert mdp.step(0) == (0, 0.0, False, False, {})
    assert mdp.step(np.int64(1)) == (1, 1.0, True, False, {})  # the horizon
    with pytest.raises(gym.error.ResetNeeded):
        mdp.step(0)
    mdp.reset()
    mdp.step(1)
    assert mdp.step(1) == (2, 2.0, True, False, {})  # the terminal state
    with pytest.raises(gym.error.ResetNeeded):
        mdp.step(0)


def test_training_runs_on_it():
    """REINFORCE finds the way to the end, alone and in a vector; J of what it learned is what evaluation measures."""
    for env in there_and_back(), gym.vector.SyncVectorEnv([there_and_back] * 4):
        policy = SoftmaxPolicy.for_env(env, (), rng=0, dtype=np.float64)
        before = there_and_back().objective(policy, 1.0)
        for _ in reinforce.train(env, policy, total_steps=2000, gamma=1.0, learning_rate=0.1, seed=0):
            pass
        assert there_and_back().objective(policy, 1.0) > before + 0.5
        policy.theta[:] = 0
        policy.theta[-1] = 1e3  # action 1 for certain
        assert there_and_back().objective(policy, 1.0) == 3
        assert (evaluate(policy, env, episodes=5, seed=0) == 3).all()


@pytest.mark.parametrize("env_id", TABLES)
def test_from_env(env_id):
    """The tables are those of the environment, and what it does is what they say."""
    env = gym.make(env_id)
    mdp = FiniteMDP.from_env(env, horizon=10)
    assert mdp.observation_space == env.observation_space
    assert mdp.action_space == env.action_space
    for s in np.flatnonzero(~mdp.terminal).tolist():
        for a, outcomes in env.unwrapped.P[s].items():
            for _, next_s, r, _ in outcomes:
                p = sum(p for p, s2, _, _ in outcomes if s2 == next_s)
                assert abs(mdp.transition[s, a, next_s] - p) < 1e-15
                assert abs(mdp.reward[s, a, next_s] - r) < 1e-12
    s, _ = env.reset(seed=0)
    env.action_space.seed(0)
    assert mdp.start[s] > 0
    for _ in range(300):
        a = int(env.action_space.sample())
        next_s, reward, terminated, truncated, _ = env.step(a)
        assert mdp.transition[s, a, next_s] > 0
        assert abs(mdp.reward[s, a, next_s] - reward) < 1e-12
        assert mdp.terminal[next_s] == terminated
        s = env.reset()[0] if terminated or truncated else next_s


@pytest.mark.parametrize("env_id", TABLES)
def test_gradient_of_real_tasks(env_id):
    """The recursion scales where enumeration can't: a directional derivative by complex step agrees."""
    mdp = FiniteMDP.from_env(gym.make(env_id), horizon=30)
    policy = policy_for(mdp)
    gradient = mdp.gradient(policy, 0.9)
    direction = np.random.default_rng(1).standard_normal(len(gradient))
    moved = SoftmaxPolicy(policy.net.sizes, theta=policy.theta + 1e-30j * direction)
    slope = mdp.objective(moved, 0.9).imag / 1e-30
    assert abs(gradient @ direction - slope) < 1e-10 * max(1, abs(slope))
    with pytest.raises(ValueError, match=r"more than limit=100000 trajectories of 30 steps: take mdp\.objective"):
        mdp.trajectories(policy)


def test_frozen_lake_without_slipping():
    """Down, down, right, down, right, right: J is γ^5 for the policy that knows the way, and 0 within five steps."""
    env = gym.make("FrozenLake-v1", is_slippery=False)
    logits = np.zeros((16, 4))
    logits[[0, 4, 8, 9, 13, 14], [1, 1, 2, 1, 2, 2]] = 1e3
    policy = SoftmaxPolicy((16, 4), theta=np.append(logits, np.zeros(4)))
    assert FiniteMDP.from_env(env, 6).objective(policy, 0.5) == 0.5**5
    assert FiniteMDP.from_env(env, 5).objective(policy, 0.5) == 0
    assert FiniteMDP.from_env(env, 6).trajectories(policy).objective(0.5) == 0.5**5


def tables(**changes):
    half = np.full((2, 2, 2), 0.5)
    return {"start": [1, 0], "transition": half, "reward": np.zeros((2, 2)), "horizon": 2} | changes


def changed(x, where, value):
    x = np.array(x, float)
    x[where] = value
    return x


HALF = tables()["transition"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"transition": changed(HALF, (1, 0, 1), 0.4)}, r"transition\[1, 0\] must be probabilities.* of sum 0.9"),
        ({"transition": changed(HALF, (0, 1), [1.5, -0.5])}, r"transition\[0, 1\] must be probabilities, none < 0"),
        ({"transition": changed(HALF, (0, 0, 0), np.nan)}, r"transition\[0, 0\] must be probabilities"),
        ({"transition": np.ones((2, 2))}, r"transition must have shape \(S, A, S\).*not \(2, 2\)"),
        ({"transition": np.ones((2, 2, 3)) / 3}, r"transition must have shape \(S, A, S\).*not \(2, 2, 3\)"),
        ({"transition": np.ones((2, 0, 2))}, r"transition must have shape .* at least 1, not \(2, 0, 2\)"),
        ({"transition": [[[1.0], [1.0, 2.0]]]}, r"transition must be an array of numbers"),
        ({"start": [0.5, 0.4]}, r"start must be probabilities, none < 0, of sum 1, not .* of sum 0.9"),
        ({"start": [1.5, -0.5]}, r"start must be probabilities"),
        ({"start": [1.0]}, r"start must have shape \(2,\), not \(1,\)"),
        ({"reward": np.zeros((2, 3))}, r"reward must have shape \(2, 2\) or \(2, 2, 2\), not \(2, 3\)"),
        ({"reward": np.full((2, 2), np.inf)}, r"reward must be finite, but reward\[0, 0\] is inf"),
        ({"reward": "high"}, r"reward must be an array of numbers, not str"),
        ({"terminal": [True]}, r"terminal must have shape \(2,\), not \(1,\)"),
        ({"terminal": [True, False]}, r"no episode can begin in a terminal state, but start is"),
        ({"horizon": 0}, r"horizon must be an integer of at least 1, not 0"),
        ({"horizon": 2.0}, r"horizon must be .* not 2.0"),
        ({"horizon": True}, r"horizon must be .* not True"),
    ],
)
def test_bad_tables_are_refused(changes, message):
    with pytest.raises((TypeError, ValueError), match=message):
        FiniteMDP(**tables(**changes))


def test_bad_arguments_are_refused():
    mdp = FiniteMDP(**tables())
    policy = policy_for(mdp)
    for gamma in -0.1, 1.1, np.nan:
        for call in mdp.objective, mdp.gradient, mdp.values:
            with pytest.raises(ValueError, match=r"gamma must be a number in \[0, 1\], not"):
                call(policy, gamma)
    for wrong in SoftmaxPolicy((3, 2)), SoftmaxPolicy((2, 3)):
        for call in mdp.trajectories, lambda wrong: mdp.gradient(wrong, 0.9):
            with pytest.raises(ValueError, match=r"the policy SoftmaxPolicy\(.*\) has \d inputs and \d outputs"):
                call(wrong)
    with pytest.raises(ValueError, match=r"values must have shape \(2,\), not \(3,\)"):
        mdp.bellman(policy, np.zeros(3), 0.9)
    with pytest.raises(ValueError, match=r"values must have shape \(2,\), not \(2, 1\)"):
        mdp.bellman_q(np.zeros((2, 1)), 0.9)
    with pytest.raises(ValueError, match=r"there are more than limit=15 trajectories of 2 steps"):
        mdp.trajectories(policy, limit=15)
    assert len(mdp.trajectories(policy, limit=16).probability) == 16
    policy = SoftmaxPolicy((3, 2))
    assert len(there_and_back().trajectories(policy, limit=7).probability) == 7  # an ended one goes on in one way
    with pytest.raises(ValueError, match="there are more than limit=6 trajectories of 3 steps"):
        there_and_back().trajectories(policy, limit=6)
    mdp.reset()
    with pytest.raises(ValueError, match=r"action must be in Discrete\(2\), not 2"):
        mdp.step(2)
    with pytest.raises(gym.error.ResetNeeded):
        FiniteMDP(**tables()).step(0)
    with pytest.raises(ValueError, match=r"env must have unwrapped\.P"):
        FiniteMDP.from_env(gym.make("CartPole-v1"), 10)


def test_from_env_refuses_what_is_no_finite_mdp():
    """A state that ends the episode on one way in and not on the other has no one value."""
    env = gym.make("FrozenLake-v1")
    env.unwrapped.P[0][0] = [(1.0, 1, 0.0, True)]
    with pytest.raises(ValueError, match=r"state 1 of .* must end all episodes that reach it or none"):
        FiniteMDP.from_env(env, 10)


class Tabular(gym.Env):
    """Nothing but a table and, if given, where it starts."""

    def __init__(self, P, start=None):
        self.P = P
        if start is not None:
            self.initial_state_distrib = start


def test_from_env_looks_at_every_state_that_an_episode_comes_to():
    """State 2 is two steps from the start, and nothing leads back."""
    table = {0: {0: [(1.0, 1, 0.0, False)]}, 1: {0: [(0.5, 2, 0.0, True), (0.5, 2, 0.0, False)]}}
    table[2] = {0: [(1.0, 2, 0.0, False)]}
    with pytest.raises(ValueError, match=r"state 2 of .* must end all episodes that reach it or none"):
        FiniteMDP.from_env(Tabular(table, [1.0, 0.0, 0.0]), 10)
    with pytest.raises(ValueError, match=r"env must have unwrapped\.P and \.initial_state_distrib"):
        FiniteMDP.from_env(Tabular(table), 10)


def test_from_env_of_a_single_state_and_an_impossible_end():
    mdp = FiniteMDP.from_env(Tabular({0: {0: [(1.0, 0, 3.0, False), (0.0, 0, 9.0, True)]}}, [1.0]), 10)
    assert not mdp.terminal.any() and mdp.transition.tolist() == [[[1]]] and mdp.reward.tolist() == [[[3]]]
    table = {0: {0: [(1.0, 0, 3.0, False), (0.0, 1, 9.0, False)]}, 1: {0: [(1.0, 0, 5.0, False)]}}
    mdp = FiniteMDP.from_env(Tabular(table, [1.0, 0.0]), 10)  # no episode comes to state 1
    assert mdp.terminal.tolist() == [False, True] and mdp.reward[:, 0].tolist() == [[3, 0], [0, 0]]


def test_tables_are_copied():
    """What a terminal state's rows hold does not count, and the caller's arrays stay as they are."""
    given_tables = tables(terminal=[False, True], transition=changed(HALF, 1, 7.0), reward=np.ones((2, 2)))
    mdp = FiniteMDP(**given_tables)
    assert (given_tables["transition"][1] == 7).all()
    assert mdp.transition[1].tolist() == [[0, 1], [0, 1]]
    assert (mdp.reward[1] == 0).all()
    given_tables["transition"][0] = 0
    assert (mdp.transition[0] == 0.5).all()
