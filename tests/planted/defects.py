"""The table of mistakes. Real ones: nearly all were found in public code, and most were there for years."""

from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Defect:
    """A mistake, as an edit of one file of the library."""

    name: str
    symptom: str  # what whoever has it notices, without a word of where it comes from
    mistake: str  # what is wrong
    file: str
    edits: dict[str, str]  # old text, which stands in the file exactly once: new text
    tests: tuple[str, ...] = field(kw_only=True)  # files, or single tests, that are run to catch it

    def plant(self, root: Path) -> None:
        """Make the edits in the library at `root`."""
        path = root / self.file
        path.write_text(self.planted(path.read_text(encoding="utf-8")), encoding="utf-8")

    def planted(self, source: str) -> str:
        """The source with the mistake in it."""
        for old, new in self.edits.items():
            if source.count(old) != 1:
                raise LookupError(f"{self.name}: must stand in {self.file} once, not {source.count(old)} times:\n{old}")
            source = source.replace(old, new)
        return source


RETURNS = ("tests/test_returns.py", "tests/derivation/test_4_a2c.py")
ROLLOUT = ("tests/test_rollout.py", "tests/test_chapters.py")
SOFTMAX = ("tests/test_softmax.py", "tests/test_policy.py")
MLP = ("tests/test_mlp.py", "tests/test_policy.py")
VALUE = ("tests/test_value.py", "tests/derivation/test_2_baseline.py")
OPTIM = ("tests/test_optim.py",)
REINFORCE = ("tests/test_reinforce.py", "tests/derivation/test_1_reinforce.py")
BASELINE = ("tests/test_a2c.py", "tests/derivation/test_2_baseline.py")
TD = ("tests/test_chapters.py", "tests/derivation/test_3_actor_critic.py")
A2C = ("tests/test_chapters.py", "tests/test_a2c.py", "tests/derivation/test_4_a2c.py")
A3C = (
    "tests/test_a3c.py::test_eq_5_1_two_workers_by_hand",
    "tests/test_a3c.py::test_each_worker_has_its_own_numbers_and_its_own_copy",
    "tests/test_a3c.py::test_a_worker_halted_within_its_write_halts_no_other",
    "tests/test_a3c.py::test_no_lock_stands_on_a_worker_s_path",
)
PPO = ("tests/test_ppo.py", "tests/test_chapters.py", "tests/derivation/test_6_ppo.py")

DEFECTS = (
    # Ends of episodes
    Defect(
        "truncation-as-termination",
        "PPO: where a time limit cuts every episode, the values settle far too low",
        "δ drops the bootstrap wherever an episode ended; a truncated one did not terminate",
        "scratchpg/algorithms/ppo.py",
        {"values[1:], batch.terminated, batch.truncated": "values[1:], batch.ended, batch.truncated"},
        tests=PPO,
    ),
    Defect(
        "time-limit-in-td",
        "actor-critic, TD: reward 1 for ever, γ = 0.98, a time limit of 8 steps: V comes to 8, not to 50",
        "the TD target of a truncated step leaves out γ V(s_{t+1})",
        "scratchpg/algorithms/actor_critic.py",
        {"batch.terminated, gamma)": "batch.ended, gamma)"},
        tests=TD,
    ),
    Defect(
        "terminal-bootstrapped",
        "values grow without end, though every episode is short",
        "the value of a terminal state is not counted as 0",
        "scratchpg/returns.py",
        {"A = r + gamma * np.where(terminated, 0.0, next_v) - v": "A = r + gamma * next_v - v"},
        tests=RETURNS,
    ),
    Defect(
        "trace-crosses-truncation",
        "advantages just before a time limit depend on the next episode",
        "the λ-recursion is cut where an episode terminated, but goes on past a truncation",
        "scratchpg/returns.py",
        {"np.where(np.logical_or(terminated, truncated), 0.0, gamma * gae": "np.where(terminated, 0.0, gamma * gae"},
        tests=RETURNS,
    ),
    Defect(
        "done-mask-off-by-one",
        "the last step of an episode gets credit for the next one, the step before it loses its own",
        "the mask of step t+1 cuts the recursion at step t",
        "scratchpg/returns.py",
        {
            "np.logical_or(terminated, truncated), 0.0, gamma * gae": (
                "np.roll(np.logical_or(terminated, truncated), -1, axis=0), 0.0, gamma * gae"
            ),
        },
        tests=RETURNS,
    ),
    Defect(
        "value-of-the-reset-state",
        "with some vector environments the bootstrap at a time limit has nothing to do with where the episode stood",
        "one that resets within the step is taken like any other: what follows s_t is then the reset observation",
        "scratchpg/plumbing/check.py",
        {"mode is not AutoresetMode.NEXT_STEP": "mode is AutoresetMode.DISABLED"},
        tests=ROLLOUT,
    ),
    Defect(
        "reset-rows-as-experience",
        "one step too many per episode, of reward 0, and its action did nothing",
        "the row in which an environment resets itself is counted as a step",
        "scratchpg/rollout.py",
        {"            batch.valid[1:] = ~ended[:-1]\n": ""},
        tests=ROLLOUT,
    ),
    Defect(
        "state-0-as-terminal",
        "one state of a gridworld, and only that one, is never worth anything",
        "state number 0 is taken for the end of an episode (`if next_state`)",
        "scratchpg/algorithms/actor_critic.py",
        {
            "td_targets(batch.rewards, values[1:],": (
                "td_targets(batch.rewards, values[1:] * (batch.states[1:, :, 0] != 1),"  # one-hot
            ),
        },
        tests=TD,
    ),
    Defect(
        "t-runs-on",
        "REINFORCE with several episodes per update: the later ones hardly count",
        "t of γ^t is not counted anew where another episode begins",
        "scratchpg/rollout.py",
        {
            "        for end, n in np.argwhere(self.ended):\n"
            "            t[end + 1 :, n] = np.arange(-1, T - end - 2)  # after an end a reset row, then step 0\n": "",
        },
        tests=ROLLOUT,
    ),
    Defect(
        "biased-parallel-evaluation",
        "with several environments the evaluation gives other returns than with one",
        "it stops at the first episodes to finish, and these are the short ones",
        "scratchpg/evaluate.py",
        {
            "[episodes // envs.n + (n < episodes % envs.n) for n in range(envs.n)]": "[episodes] * envs.n",
            "zip(returns, wanted, strict=True)])).any()": "zip(returns, wanted, strict=True)])).any() "
            "and sum(map(len, returns)) < episodes",
            "while missing.any()": "while sum(map(len, returns)) < episodes",
            "np.array([x for of_one in returns for x in of_one])": "np.array(sum(returns, [])[:episodes])",
        },
        tests=("tests/test_evaluate.py",),
    ),
    Defect(
        "seeded-every-episode",
        "every episode of a single environment begins in the same state",
        "the environment is seeded at each reset, not only at the first",
        "scratchpg/rollout.py",
        {"self.envs.reset(seed)": "self.envs.reset(seed or 0)"},
        tests=ROLLOUT,
    ),
    # The estimator
    Defect(
        "gamma-t-dropped",
        "REINFORCE at γ < 1: nearly the right direction, but not the gradient of J",
        "γ^t is left out of (1.10) although it is asked for",
        "scratchpg/algorithms/reinforce.py",
        {"weights = gamma**batch.t * returns": "weights = returns"},
        tests=REINFORCE,
    ),
    Defect(
        "gamma-ignored",
        "returns are the same whatever γ",
        "γ is accepted and not used",
        "scratchpg/returns.py",
        {"np.where(ended, 0.0, gamma)": "np.where(ended, 0.0, 1.0)"},
        tests=RETURNS,
    ),
    Defect(
        "mean-over-steps",
        "REINFORCE: the longer the episodes of an update, the shorter its step",
        "the gradient is divided by the number of steps, (1.11) by that of the episodes",
        "scratchpg/algorithms/reinforce.py",
        {"d_parameters / episodes": "d_parameters / len(states)"},
        tests=REINFORCE,
    ),
    Defect(
        "sum-over-steps",
        "A2C: the best learning rate depends on the size of the batch",
        "loss and gradient are sums over steps, (4.4) is a mean",
        "scratchpg/algorithms/a2c.py",
        {"d_parameters / len(states)": "d_parameters", "pi.entropy()).mean()": "pi.entropy()).sum()"},
        tests=A2C,
    ),
    Defect(
        "entropy-sign",
        "A2C: the more entropy bonus, the sooner the policy is certain",
        "the bonus is a penalty, in the loss as in the gradient, so the two agree",
        "scratchpg/algorithms/a2c.py",
        {
            "d_parameters -= ent_coef": "d_parameters += ent_coef",
            "+ ent_coef * pi.entropy()": "- ent_coef * pi.entropy()",
        },
        tests=A2C,
    ),
    Defect(
        "entropy-without-gradient",
        "PPO: the entropy bonus changes the loss and nothing else",
        "the bonus stands in the loss, but not in the gradient",
        "scratchpg/algorithms/ppo.py",
        {"    if ent_coef:\n        d_parameters -= ent_coef * pi.d_entropy()\n": ""},
        tests=PPO,
    ),
    Defect(
        "value-factor",
        "the critic learns at half the rate it is given",
        "the factor 2 of (2.3) is missing from the gradient, but not from the loss",
        "scratchpg/value.py",
        {"-2 / len(targets)": "-1 / len(targets)"},
        tests=VALUE,
    ),
    Defect(
        "baseline-moved-first",
        "the baseline removes more than it should: with a fast critic the actor hardly moves",
        "V is fitted to these very returns before it is subtracted from them, against (2.4)",
        "scratchpg/algorithms/baseline.py",
        {
            "            values = value(batch.states)[:-1]  # (2.4): predict first, …\n": "",
            "            advantages = targets - values  # (2.1)\n": (
                "            states, _, of_all = batch.samples(targets)\n"
                "            value_gradient_norm = critic.step(value.mse_gradient(states, of_all))\n"
                "            values = value(batch.states)[:-1]\n"
                "            advantages = targets - values  # (2.1)\n"
            ),
            "            value_gradient_norm = critic.step(value.mse_gradient(states, targets))  # … then fit, …\n": "",
        },
        tests=BASELINE,
    ),
    Defect(
        "normalised-targets",
        "A2C with normalised advantages: the values never leave the neighbourhood of 0",
        "the critic's targets are made of the normalised advantages",
        "scratchpg/algorithms/a2c.py",
        {
            "batch.samples(targets, advantages)": "batch.samples(values[:-1], advantages)",
            "            critic.step(": "            targets = targets + advantages\n            critic.step(",
        },
        tests=A2C,
    ),
    Defect(
        "integer-rewards",
        "advantages are whole numbers where the rewards are",
        "the array of the rewards is filled with the returns, in its own integer type",
        "scratchpg/returns.py",
        {"np.where(ended, 0.0, gamma), r.copy()": "np.where(ended, 0.0, gamma), np.array(rewards)"},
        tests=RETURNS,
    ),
    Defect(
        "one-step-too-many",
        "n-step advantages agree with nobody else's",
        "the window of (4.2) has n + 1 steps",
        "scratchpg/returns.py",
        {"range(min(n, len(delta)) - 1)": "range(min(n, len(delta)))"},
        tests=RETURNS,
    ),
    Defect(
        "division-by-no-deviation",
        "now and then a batch of equal advantages turns all parameters into NaN",
        "the deviation has no floor",
        "scratchpg/returns.py",
        {"(std + 1e-8)": "std"},
        tests=RETURNS,
    ),
    # Networks and distributions
    Defect(
        "log-of-softmax",
        "an action of small probability gets a log-probability of -18.4 and a wrong gradient",
        "the logarithm is taken of the probability, with 1e-8 against log 0",
        "scratchpg/softmax.py",
        {"return self.log_probabilities[": "return np.log(self.probabilities + 1e-8)["},
        tests=SOFTMAX,
    ),
    Defect(
        "softmax-overflow",
        "NaN as soon as a logit exceeds 709",
        "the maximum is not subtracted before exp",
        "scratchpg/softmax.py",
        {"shifted = z - largest\n": "shifted = z.copy()\n"},
        tests=SOFTMAX,
    ),
    Defect(
        "entropy-derivative",
        "the entropy bonus pushes, but not along its gradient",
        "the derivative of -Σ π log π is taken as if the π_a could move on their own",
        "scratchpg/softmax.py",
        {"(self.log_probabilities + self.entropy()[:, None])": "(self.log_probabilities + 1)"},
        tests=SOFTMAX,
    ),
    Defect(
        "tanh-derivative",
        "a network without hidden layers is right, with one it learns slowly, with two badly",
        "the derivative of tanh is 1 - h², not 1 - h",
        "scratchpg/mlp.py",
        {"slope = h * h\n                d *=": "slope = h.copy()\n                d *="},
        tests=MLP,
    ),
    Defect(
        "cache-on-self",
        "gradients are right in every test of one network, and wrong where two passes overlap",
        "forward leaves its cache on the network, the next pass overwrites it",
        "scratchpg/mlp.py",
        {
            "        return h, (self.sizes, inputs)": "        self.last = self.sizes, inputs\n        return h, None",
            "        if cache is None:\n": "        cache = cache or self.last\n        if cache is None:\n",
        },
        tests=MLP,
    ),
    Defect(
        "column-meets-row",
        "the critic's loss is far too large, and fitting it makes all values equal",
        "V is (B, 1), the targets are (B,): their difference is (B, B)",
        "scratchpg/value.py",
        {"[:, 0].reshape(states.shape[:-1])": ".reshape(*states.shape[:-1], 1)"},
        tests=VALUE,
    ),
    # Optimisers
    Defect(
        "rmsprop-epsilon-outside",
        "the first steps of A2C and A3C are longer than the paper's",
        "ε is added to the root, not under it",
        "scratchpg/optim.py",
        {"np.sqrt(s + self.eps)": "(np.sqrt(s) + self.eps)"},
        tests=OPTIM,
    ),
    Defect(
        "adam-from-0",
        "Adam stops at its very first step",
        "the steps are counted from 0, and 1 - β⁰ is no divisor",
        "scratchpg/optim.py",
        {"self.t = betas, eps, 0": "self.t = betas, eps, -1"},
        tests=OPTIM,
    ),
    Defect(
        "adam-uncorrected",
        "the first steps of Adam are three times too long",
        "the averages begin at 0 and are not corrected for it",
        "scratchpg/optim.py",
        {"self.m / (1 - beta1**self.t)": "self.m", "self.v / (1 - beta2**self.t)": "self.v"},
        tests=OPTIM,
    ),
    Defect(
        "clip-by-component",
        "a long gradient changes its direction when it is clipped",
        "each component is clipped, not the norm of the whole",
        "scratchpg/optim.py",
        {
            "gradient * (self.max_grad_norm / norm)": "np.clip(gradient, -self.max_grad_norm, self.max_grad_norm)",
        },
        tests=OPTIM,
    ),
    Defect(
        "ascent",
        "everything gets worse, steadily",
        "the step goes up the gradient of what is to be minimised",
        "scratchpg/optim.py",
        {"self.theta -= step": "self.theta += step"},
        tests=OPTIM,
    ),
    # A3C
    Defect(
        "lock-on-the-path",
        "A3C: one worker that hangs while it writes stops all the others",
        "the workers take turns at the shared parameters, by a lock",
        "scratchpg/algorithms/a3c.py",
        {
            "\n\n\ndef train(": "\nTurn = multiprocessing.Lock\nTURN = Turn()\n\n\ndef train(",
            "            critic.step(d_phi)\n            actor.step(d_theta)\n": (
                "            with TURN:\n                critic.step(d_phi)\n                actor.step(d_theta)\n"
            ),
        },
        tests=A3C,
    ),
    Defect(
        "private-statistics",
        "A3C: the more workers, the longer their first steps",
        "each worker has its own average of RMSProp",
        "scratchpg/algorithms/a3c.py",
        {" mean_square=shared.theta_mean_square,": ""},
        tests=A3C,
    ),
    Defect(
        "same-draws",
        "A3C: a second worker brings nothing",
        "every worker gets a copy of the same generator",
        "scratchpg/algorithms/a3c.py",
        {"make_rng(seed, rng).spawn(workers)": "[make_rng(seed, rng).spawn(1)[0] for _ in range(workers)]"},
        tests=A3C,
    ),
    Defect(
        "gradient-at-a-moving-theta",
        "A3C: probabilities at the end of a segment are not those of its beginning",
        "a worker plays and differentiates with the shared parameters, not with a copy of them",
        "scratchpg/algorithms/a3c.py",
        {
            "deepcopy((policy, value))": (
                "SoftmaxPolicy(policy.sizes, theta=shared.theta), Value(value.sizes, theta=shared.phi)"
            ),
        },
        tests=A3C,
    ),
    # PPO
    Defect(
        "clip-on-both-sides",
        "PPO: what went wrong by a large step is never mended",
        "a row is taken for clipped on either side, whatever the sign of its advantage",
        "scratchpg/algorithms/ppo.py",
        {
            "np.where(advantages < 0, ratio < 1 - clip_range, ratio > 1 + clip_range)": "abs(ratio - 1) > clip_range",
        },
        tests=PPO,
    ),
    Defect(
        "maximum-for-minimum",
        "PPO: the loss of a clipped row goes on falling",
        "of the clipped and the plain term the larger is taken, (6.2) takes the smaller",
        "scratchpg/algorithms/ppo.py",
        {"np.minimum(ratio": "np.maximum(ratio"},
        tests=PPO,
    ),
    Defect(
        "ratio-without-itself",
        "PPO: right in the first minibatch of a batch, and in no other",
        "∇r_t is taken for ∇log π: the factor r_t of (6.3) is missing",
        "scratchpg/algorithms/ppo.py",
        {"np.where(clipped, 0 * advantages, ratio * advantages)": "np.where(clipped, 0, advantages)"},
        tests=PPO,
    ),
    Defect(
        "ratio-always-1",
        "PPO: clip_range makes no difference",
        "the old log-probabilities are computed anew for each minibatch",
        "scratchpg/algorithms/ppo.py",
        {"actions[i], old_log_prob[i], A": "actions[i], policy(states[i]).log_prob(actions[i]), A"},
        tests=PPO,
    ),
    Defect(
        "advantages-anew-each-epoch",
        "PPO: the more epochs, the less the advantages have to do with what was collected",
        "each epoch recomputes the advantages with the critic that it has just moved",
        "scratchpg/algorithms/ppo.py",
        {
            "                for i in minibatches(": (
                "                values = value(batch.states)\n"
                "                steps = batch.rewards, values[:-1], values[1:], *steps[3:]\n"
                "                _, _, advantages = batch.samples(gae(*steps, gamma, gae_lambda))\n"
                "                for i in minibatches("
            ),
        },
        tests=PPO,
    ),
    Defect(
        "remainder-dropped",
        "PPO: some rows of each batch are never learned from",
        "the last minibatch, if it is smaller than the others, is left out",
        "scratchpg/rollout.py",
        {"range(0, n, batch_size)": "range(0, n - batch_size + 1, batch_size)"},
        tests=PPO,
    ),
    Defect(
        "kl-before-the-step",
        "PPO: kl is 0 and clip_fraction is 0, whatever the learning rate",
        "the diagnostics compare the old policy with itself",
        "scratchpg/algorithms/ppo.py",
        {"drift(old, policy(states), actions, epsilon)": "drift(old, old, actions, epsilon)"},
        tests=PPO,
    ),
    # The judge itself
    Defect(
        "absolute-tolerance",
        "the gradient check passes a wrong sign, if only the component is small",
        "an error of 1e-6 is granted to every component, whatever its size",
        "scratchpg/gradcheck.py",
        {"abs(gradient - slopes) - rounding": "abs(gradient - slopes) - 1e-6"},
        tests=("tests/test_gradcheck.py",),
    ),
)
