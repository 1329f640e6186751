"""Mistakes of code for SAC: the part of the table (`defects.py`) for soft values, twins and squashed Gaussians."""

from .defects import Defect

EXACT = ("tests/derivation/test_12_sac.py",)
TRAINING = ("tests/test_sac.py",)
OBJECTS = ("tests/test_squashed.py",)
SAC, SQUASHED = "scratchpg/algorithms/sac.py", "scratchpg/squashed.py"

SAC_DEFECTS = (
    Defect(
        "target-without-entropy",
        "it still learns, but the critics do not rise when α does",
        "-α log π(a'|s') is missing in the target (12.6)",
        SAC,
        {".min(axis=0) - ent_coef * pi.log_prob(noise)\n": ".min(axis=0)\n"},
        tests=EXACT,
    ),
    Defect(
        "entropy-after-the-end",
        "where episodes can end, the agent seeks or shuns the end, the more the larger α is",
        "at a terminal row Q̄ is masked, and the entropy is not",
        SAC,
        {
            ".min(axis=0) - ent_coef * pi.log_prob(noise)\n": ".min(axis=0)\n",
            "return rewards + discounts * values": (
                "gamma = discounts.max()\n"
                "    return rewards + discounts * values - gamma * ent_coef * pi.log_prob(noise)"
            ),
        },
        tests=EXACT,
    ),
    Defect(
        "time-limit-as-death",
        "SAC on Pendulum-v1, which never ends: the critics settle far too high, as if step 200 were a rescue",
        "the replay takes both flags for the end of the world, (12.6) has `terminated` alone",
        "scratchpg/replay.py",
        {"batch.states[1:], batch.terminated\n": "batch.states[1:], batch.ended\n"},
        tests=TRAINING,
    ),
    Defect(
        "target-by-the-online-nets",
        "the critics swing, and at times run away",
        "y is of the nets that are trained, not of their slow copy",
        SAC,
        {"y = targets(policy, target, ": "y = targets(policy, q, "},
        tests=TRAINING,
    ),
    Defect(
        "log-sigma-clipped",
        "now and then a policy freezes: its σ stays at a bound for ever",
        "log σ is clipped, and has no gradient outside",
        SQUASHED,
        {
            "y[:, self.outputs :] = 5 * np.tanh(y[:, self.outputs :] / 5)": (
                "y[:, self.outputs :] = np.clip(y[:, self.outputs :], -5, 2)"
            ),
            "slopes[:, self.outputs :] -= (distribution.log_std / 5) ** 2": (
                "slopes[:, self.outputs :] = (distribution.log_std > -5) & (distribution.log_std < 2)"
            ),
        },
        tests=OBJECTS,
    ),
    Defect(
        "slope-with-a-floor",
        "actions crowd at the bounds, and the entropy says that they do not",
        "log(1 - a² + 1e-6) stands for (12.11): from |u| = 6.5 on it is another function",
        SQUASHED,
        {"return 2 * (math.log(2) - u - np.log1p(np.exp(-2 * u)))": "return np.log(1 - np.tanh(u) ** 2 + 1e-6)"},
        tests=EXACT,
    ),
    Defect(
        "temperature-upside-down",
        "the temperature grows without end, or dies in the first minutes",
        "the sign of (12.14): too little entropy lowers α",
        SAC,
        {"min(-rate *": "min(rate *"},
        tests=EXACT,
    ),
    Defect(
        "one-twin-for-the-actor",
        "the policy finds the holes of one critic, and values are too high",
        "(12.8) has the smaller of the two, the gradient goes through the first alone",
        SAC,
        {"[values[0] < values[1], values[0] >= values[1]]": "[values[0] == values[0], values[0] != values[0]]"},
        tests=EXACT,
    ),
    Defect(
        "log-density-averaged",
        "with several action dimensions the temperature settles d times too high",
        "log π is the mean over the dimensions, (12.10) is their sum",
        SQUASHED,
        {"return -each.sum(axis=1)": "return -each.mean(axis=1)"},
        tests=EXACT,
    ),
    Defect(
        "path-without-the-slope",
        "the mean drifts to the bounds and stays there",
        "∂a/∂μ is taken for 1, it is 1 - a²",
        SQUASHED,
        {" * (1 - self.action(noise) ** 2)\n": "\n"},
        tests=EXACT,
    ),
    Defect(
        "one-draw-for-both",
        "learning is a little slower than it should be, and noisier",
        "a' and the actions of (12.8) are made of the same noise",
        SAC,
        {"y = targets(policy, target, batch, next_noise,": "y = targets(policy, target, batch, noise,"},
        tests=TRAINING,
    ),
    Defect(
        "actions-not-stretched",
        "Pendulum-v1 is hardly ever swung up: the motor gives half of its torque",
        "actions in (-1, 1) reach the environment as they are",
        "scratchpg/plumbing/spaces.py",
        {'self.stretched = kind == "bounded Box"': "self.stretched = False"},
        tests=OBJECTS,
    ),
    Defect(
        "evaluated-in-other-units",
        "training does well, the evaluation of the same policy does not",
        "the Collector stretches actions to the bounds, evaluate does not",
        "scratchpg/evaluate.py",
        {"Environments(env, policy.actions)": "Environments(env)"},
        tests=OBJECTS,
    ),
    Defect(
        "twins-in-one",
        "two critics are no better than one",
        "both nets are views of the same half of φ",
        "scratchpg/q.py",
        {"theta[:P], theta[P:], theta": "theta[:P], theta[:P], theta"},
        tests=OBJECTS,
    ),
    Defect(
        "entropy-in-a-terminal-state",
        "exact J_α of a finite MDP with terminal states is too high",
        "a terminal state is paid for the entropy of a policy that does not act there",
        "scratchpg/mdp.py",
        {"V.append(np.where(self.terminal, 0, ": "V.append(np.where(False, 0, "},
        tests=EXACT,
    ),
)
