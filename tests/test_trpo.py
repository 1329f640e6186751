"""TRPO: conjugate gradients, the line search, and what train makes of them."""

import gymnasium as gym
import numpy as np
import pytest
from helpers import LD, SEEDS, check, random_network, same_bits, shapes
from hypothesis import given
from hypothesis import strategies as st

from scratchpg import GaussianPolicy, Policy, SoftmaxPolicy, Value
from scratchpg.algorithms import trpo
from scratchpg.optim import conjugate_gradient, line_search
from scratchpg.plumbing.check import NonFiniteError

CARTPOLE, PENDULUM = "CartPole-v1", "Pendulum-v1"
IDS = pytest.mark.parametrize("env_id", [CARTPOLE, PENDULUM])


def make(env_id=CARTPOLE, n=4, dtype=np.float32, seed=0):
    """An environment and the networks for it."""
    env, rng = gym.make_vec(env_id, n), np.random.default_rng(seed)
    return env, Policy.for_env(env, (8,), rng, dtype=dtype), Value.for_env(env, (8,), rng, dtype=dtype)


def spd(n, rng):
    """A symmetric positive definite matrix."""
    A = rng.standard_normal((n, n))
    return A @ A.T + np.eye(n)


# Conjugate gradients


@given(st.integers(1, 8), SEEDS, st.sampled_from([1e-30, 1.0, 1e30]))
def test_conjugate_gradients_solve_in_as_many_iterations_as_there_are_unknowns(n, seed, scale):
    """At any scale of g: the tolerance is relative, and a tiny gradient is no solved system."""
    rng = np.random.default_rng(seed)
    A, g = spd(n, rng), rng.standard_normal(n) * scale
    np.testing.assert_allclose(
        conjugate_gradient(lambda v: A @ v, g, n) / scale, np.linalg.solve(A, g / scale), atol=1e-6
    )


def test_conjugate_gradients_start_at_0_and_leave_g_alone():
    g = np.array([1.0, 2.0])
    assert not conjugate_gradient(lambda v: v, g, 0).any()
    np.testing.assert_array_equal(conjugate_gradient(lambda v: 4 * v, g, 1), g / 4)
    np.testing.assert_array_equal(g, [1, 2])


def test_conjugate_gradients_stop_once_solved():
    """At a residual of 0 another iteration would divide by it."""
    calls = []
    x = conjugate_gradient(lambda v: calls.append(v) or 2 * v, np.array([1.0, 2.0]), 50)
    assert len(calls) == 1 and (x == [0.5, 1]).all()
    assert not conjugate_gradient(lambda v: 2 * v, np.zeros(3), 5).any()


@pytest.mark.parametrize(("left", "iterations"), [(0.9e-10, 1), (1.1e-10, 2)])
def test_conjugate_gradients_stop_at_the_tolerance(left, iterations):
    """After one of them |r|² = ((c - 1)/(c + 1))² |g|² for A = diag(1, c) and g = (1, 1)."""
    c, calls = (1 + np.sqrt(left)) / (1 - np.sqrt(left)), []
    conjugate_gradient(lambda v: calls.append(v) or np.array([1, c]) * v, np.ones(2), 5)
    assert len(calls) == iterations
    calls.clear()  # at |r|² = tolerance · |g|², too
    assert not conjugate_gradient(lambda v: calls.append(v) or v, np.ones(2), 5, tolerance=1.0).any() and not calls


@pytest.mark.parametrize("A", [np.diag([0.0, 0.0]), np.diag([-1.0, -2.0])])
def test_conjugate_gradients_stop_where_there_is_no_curvature(A):
    with np.errstate(all="raise"):
        assert not conjugate_gradient(lambda v: A @ v, np.ones(2), 5).any()


def test_conjugate_gradients_keep_what_they_have_when_curvature_ends():
    A = np.diag([1.0, -0.5])
    np.testing.assert_allclose(conjugate_gradient(lambda v: A @ v, np.array([1.0, 0.1]), 5), [1.015, 0.1015], rtol=1e-3)


@pytest.mark.parametrize("arguments", [dict(iterations=-1), dict(iterations=1.5), dict(iterations=1, tolerance=-1.0)])
def test_conjugate_gradients_refuse(arguments):
    with pytest.raises((TypeError, ValueError), match=r"iterations|tolerance"):
        conjugate_gradient(lambda v: v, np.ones(2), **arguments)
    with pytest.raises(ValueError, match="shape"):
        conjugate_gradient(lambda v: v, np.ones((2, 1)), 1)


# The line search


def search(accepted, tries=4):
    """Where a search from θ = 0 with step 1 ends, if it accepts these numbers of tries."""
    theta, seen = np.array([0.1]), []
    j = line_search(theta, np.array([1.0]), lambda: seen.append(theta.item()) or len(seen) - 1 in accepted, 0.5, tries)
    return j, theta.item(), seen


def test_line_search_takes_the_first_that_is_accepted():
    assert search({1, 2}) == (1, 0.6, [1.1, 0.6])


def test_line_search_restores_theta_to_the_bit():
    assert search(set()) == (4, 0.1, [1.1, 0.6, 0.35, 0.225])


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_line_search_restores_theta_after_an_error_or_ctrl_c(error):
    def accept():
        raise error

    theta = np.zeros(2)
    with pytest.raises(error):
        line_search(theta, np.ones(2), accept, 0.5, 4)
    assert not theta.any()


def test_line_search_refuses_a_step_that_is_not_finite():
    theta = np.zeros(2)
    with pytest.raises(NonFiniteError, match="step"):
        line_search(theta, np.array([0.0, np.nan]), lambda: True, 0.5, 4)
    assert not theta.any()


def test_both_conditions_are_asked():
    """Lower surrogate but too far, near but no lower, and both."""
    policy = SoftmaxPolicy((1, 2), theta=np.zeros(4))
    states, actions, A = np.ones((2, 1)), np.array([0, 1]), np.array([-1.0, 1.0])
    old = policy(states)
    rows = states, actions, old.log_prob(actions), A
    before = trpo.loss(policy, *rows)
    for move, delta, expected in (1.0, 0.01, False), (-0.01, 0.01, False), (0.0, 0.01, False), (0.1, 0.01, True):
        policy.theta[:] = [-move, move, 0, 0]
        assert trpo.accepts(policy, old, before, delta, *rows) == expected


def test_the_old_policy_comes_first_in_the_bound():
    """KL(π_old ‖ π) > δ > KL(π ‖ π_old) is refused."""
    policy = SoftmaxPolicy((1, 2), theta=np.array([0, 0, 0, 2.0]))
    states, actions, A = np.ones((1, 1)), np.array([1]), np.array([1.0])
    old = policy(states)
    rows = states, actions, old.log_prob(actions), A
    before = trpo.loss(policy, *rows)
    policy.theta[3] = 4.0
    forth, back = old.kl(policy(states))[0], policy(states).kl(old)[0]
    assert forth > back and not trpo.accepts(policy, old, before, (forth + back) / 2, *rows)


def test_the_surrogate_is_averaged_in_float64():
    """A fall of 1e-9 of a float32 policy is no fall of its mean in float32."""
    A = np.full(3, 1.0)
    A[0] += 1e-9
    policy = SoftmaxPolicy((1, 2), theta=np.zeros(4, np.float32))
    rows = np.ones((3, 1)), np.zeros(3, int), policy(np.ones((3, 1))).log_prob(np.zeros(3, int))
    assert trpo.loss(policy, *rows, A) < trpo.loss(policy, *rows, np.ones(3))
    assert trpo.mean(np.ones(3, np.float32)).dtype == np.float64 and trpo.mean(np.ones(3, LD)).dtype == LD


# Gradients


@given(shapes(st.integers(2, 4)), st.integers(1, 5), SEEDS, st.sampled_from([SoftmaxPolicy, GaussianPolicy]))
def test_gradient_meets_finite_differences(sizes, B, seed, kind):
    rng = np.random.default_rng(seed)
    policy = (
        random_network(SoftmaxPolicy, sizes, rng) if kind is SoftmaxPolicy else GaussianPolicy(sizes, rng, dtype=LD)
    )
    states = rng.standard_normal((B, sizes[0])).astype(LD)
    actions = policy(states).sample(rng)
    rows = states, actions, policy(states).log_prob(actions) + 0.3 * rng.standard_normal(B), rng.standard_normal(B)
    check(lambda theta: 1 + trpo.loss(kind(sizes, theta=theta), *rows), trpo.gradient(policy, *rows), policy.theta)


@given(SEEDS, st.sampled_from([SoftmaxPolicy, GaussianPolicy]))
def test_fisher_product_is_the_same_in_float32(seed, kind):
    rng = np.random.default_rng(seed)
    policy = kind((3, 4, 2), rng, dtype=float)
    single, states, v = (
        kind((3, 4, 2), theta=policy.theta.astype(np.float32)),
        rng.standard_normal((6, 3)),
        rng.random(len(policy.theta)),
    )
    Fv = trpo.fisher_product(policy, policy(states), v)
    coarse = trpo.fisher_product(single, single(states), v)
    assert coarse.dtype == np.float32
    np.testing.assert_allclose(coarse, Fv, atol=1e-5)


# Training


@IDS
def test_kl_never_exceeds_delta(env_id):
    """Measured from outside: the policy before against the policy after, on the states that were collected."""
    env, policy, value = make(env_id)
    before, batches = policy.theta.copy(), []
    loop = trpo.train(env, policy, value, total_steps=4_000, target_kl=0.02, seed=0)
    original = trpo.Collector.collect
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trpo.Collector, "collect", lambda self, n: batches.append(original(self, n)) or batches[-1])
        for progress in loop:
            states, _ = batches[-1].samples()
            old = type(policy)(policy.sizes, theta=before)
            kl = old(states).kl(policy(states)).mean(dtype=float)
            assert progress.kl == pytest.approx(kl, abs=1e-7) and progress.kl <= 0.02
            assert (progress.backtracks == 10) == same_bits(before, policy.theta)
            assert progress.entropy == pytest.approx(policy(states).entropy().mean(), rel=1e-5)
            before = policy.theta.copy()
    assert progress.explained_variance < 1


def test_a_failed_search_leaves_the_policy_but_not_the_critic(monkeypatch):
    env, policy, value = make()
    theta, phi = policy.theta.copy(), value.theta.copy()
    monkeypatch.setattr(trpo, "accepts", lambda *_: False)
    progress = next(trpo.train(env, policy, value, seed=0, line_search_max_iter=3))
    assert same_bits(policy.theta, theta) and progress.kl == 0 and progress.backtracks == 3
    assert not same_bits(value.theta, phi)


def test_advantages_of_any_scale_make_the_same_step(monkeypatch):
    """The step has its length from δ. They are normalised where they are asked to be, and used so."""
    after, original = [], trpo.gae
    for scale, normalize in (1, False), (1000, False), (1, True):
        env, policy, value = make(dtype=float)
        monkeypatch.setattr(trpo, "gae", lambda *args, scale=scale: scale * original(*args))
        next(trpo.train(env, policy, value, seed=0, normalize_advantage=normalize))
        after.append(policy.theta)
    np.testing.assert_allclose(after[0], after[1], rtol=1e-6)
    assert abs(after[0] - after[2]).max() > 1e-3


def test_the_forward_pass_is_not_repeated_in_conjugate_gradients(monkeypatch):
    """One pass per batch, whose cache is good for all products."""
    passes, counts = [], []
    original = SoftmaxPolicy.__call__
    monkeypatch.setattr(SoftmaxPolicy, "__call__", lambda self, s: passes.append(len(s)) or original(self, s))
    for iterations in 2, 10:
        env, policy, value = make()
        passes.clear()
        next(trpo.train(env, policy, value, seed=0, cg_max_steps=iterations, line_search_max_iter=1))
        counts.append(sum(n > 4 for n in passes))  # those of the collector have 4 rows
    assert counts[0] == counts[1]


@pytest.mark.parametrize(
    "setting",
    [
        dict(target_kl=0.0),
        dict(target_kl=-1.0),
        dict(cg_max_steps=0),
        dict(cg_damping=-0.1),
        dict(line_search_max_iter=0),
        dict(line_search_shrinking_factor=1.5),
        dict(gae_lambda=95),
        dict(learning_rate=0.0),
    ],
)
def test_settings_out_of_range_are_refused_at_the_call(setting):
    with pytest.raises(ValueError, match=next(iter(setting))):
        trpo.train(*make(), **setting)


@IDS
def test_the_same_seed_gives_the_same_bits(env_id):
    runs = []
    for _ in range(2):
        env, policy, value = make(env_id)
        lines = [str(p) for p in trpo.train(env, policy, value, total_steps=1_500, seed=3)]
        runs.append((lines, policy.theta, value.theta))
    assert runs[0][0] == runs[1][0] and all(same_bits(a, b) for a, b in zip(runs[0][1:], runs[1][1:], strict=True))


def test_an_overflow_ends_in_an_error_and_leaves_the_policy(monkeypatch):
    env, policy, value = make()
    theta = policy.theta.copy()
    monkeypatch.setattr(trpo, "gae", lambda *args: np.full(args[0].shape, np.inf))
    with pytest.raises(FloatingPointError, match="advantages must be finite"):
        next(trpo.train(env, policy, value, seed=0))
    assert same_bits(policy.theta, theta)


def test_learning_cartpole():
    env = gym.make_vec(CARTPOLE, 8)
    policy, value = SoftmaxPolicy.for_env(env, rng=0), Value.for_env(env, rng=0)
    *_, last = trpo.train(
        env, policy, value, total_steps=12_000, n_steps=64, target_kl=0.02, learning_rate=3e-3, seed=0
    )
    assert last.mean_return > 75  # a uniform policy has 22
