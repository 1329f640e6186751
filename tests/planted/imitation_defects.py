"""Mistakes of code that learns from an expert: the part of the table (`defects.py`) for §13."""

from .defects import Defect

IMITATION = ("tests/test_imitation.py", "tests/derivation/test_13_imitation.py")
RLFD = ("tests/test_rlfd.py", "tests/derivation/test_13_imitation.py")
DEMONSTRATIONS = ("tests/test_demonstrations.py", "tests/test_rlfd.py")

IMITATION_DEFECTS = (
    Defect(
        "demonstrations-weigh-for-ever",
        "RLfD never gets better than its expert, however long it learns",
        "λ is taken at the beginning of the run in every update, so that it does not decay",
        "scratchpg/algorithms/rlfd.py",
        {"scheduled(demo_coef, done)": "scheduled(demo_coef, 0.0)"},
        tests=RLFD,
    ),
    Defect(
        "one-sum-over-both-sets",
        "the more demonstrations RLfD is given, the less it hears of the reward",
        "the demonstrations' term is a sum over them, (13.7) has the mean of each set; its gradient agrees",
        "scratchpg/algorithms/rlfd.py",
        {
            "+ demo_coef * demo_loss": "+ demo_coef * demo_loss * len(demo_states)",
            "+ demo_coef * demo_gradient": "+ demo_coef * demo_gradient * len(demo_states)",
        },
        tests=RLFD,
    ),
    Defect(
        "away-from-the-demonstrations",
        "RLfD unlearns what it was shown",
        "the demonstrations' term has the sign of the advantages' one turned round",
        "scratchpg/algorithms/rlfd.py",
        {"+ demo_coef * demo_gradient": "- demo_coef * demo_gradient"},
        tests=RLFD,
    ),
    Defect(
        "another-environment-s-demonstrations",
        "RLfD in one environment learns from demonstrations of another, whose sizes happen to fit",
        "the id of the environment is kept, but not compared",
        "scratchpg/demonstrations.py",
        {"if (has := self.env[name]) != needs and": 'if name != "id" and (has := self.env[name]) != needs and'},
        tests=DEMONSTRATIONS,
    ),
    Defect(
        "steps-of-all-environments-mixed",
        "recorded from several environments, good episodes have the returns of bad ones",
        "rows go by time, all environments at once, though an episode is counted by where a row ended",
        "scratchpg/demonstrations.py",
        {"x.swapaxes(0, 1)[batch.valid.T]": "x[batch.valid]"},
        tests=DEMONSTRATIONS,
    ),
    Defect(
        "reset-rows-as-demonstrations",
        "recorded from several environments, there are more steps than the episodes are long",
        "rows that are no experience are not left out",
        "scratchpg/demonstrations.py",
        {"x.swapaxes(0, 1)[batch.valid.T]": "x.swapaxes(0, 1).reshape(-1, *x.shape[2:])"},
        tests=DEMONSTRATIONS,
    ),
    Defect(
        "the-driver-s-action-for-a-label",
        "DAgger does not get better from round to round: it grows sure of what it does anyway",
        "what the driver did is learned, where the expert was to be asked",
        "scratchpg/algorithms/imitation.py",
        {"met, _ = batch.samples()": "met, taken = batch.samples()", "expert(met).mode()": "taken"},
        tests=IMITATION,
    ),
    Defect(
        "label-after-the-step",
        "the clone is late: it does what was right a step ago",
        "the expert's label is taken in the state after the learner's step, and kept beside the one before it",
        "scratchpg/algorithms/imitation.py",
        {"expert(met).mode()": "expert(batch.states[1:][batch.valid]).mode()"},
        tests=IMITATION,
    ),
    Defect(
        "duplicated-demonstrations",
        "the first states that were met weigh the more, the longer imitation goes on",
        "each round adds all of D to D again",
        "scratchpg/algorithms/imitation.py",
        {"states.append(met)": "states += [*states, met]", "actions.append(": "actions += (*actions, "},
        tests=IMITATION,
    ),
    Defect(
        "the-expert-drives-for-ever",
        "DAgger learns as cloning does: it falls, and never learned to get up",
        "the learner never takes the wheel",
        "scratchpg/algorithms/imitation.py",
        {"collector.policy = policy": "collector.policy = expert"},
        tests=IMITATION,
    ),
    Defect(
        "weights-left-out",
        "cloning the better part of the demonstrations clones all of them",
        "the weights w_t of (13.1) are in the loss, not in its gradient",
        "scratchpg/algorithms/imitation.py",
        {"-weights[:, None] * pi.d_log_prob(actions)": "-pi.d_log_prob(actions)"},
        tests=IMITATION,
    ),
    Defect(
        "rows-of-another-minibatch",
        "cloning learns nothing from data on which a simple fit succeeds",
        "states go by the minibatch, their labels by their place in it",
        "scratchpg/algorithms/imitation.py",
        {"gradient(policy, states[i], actions[i]": "gradient(policy, states[i], actions[: len(i)]"},
        tests=IMITATION,
    ),
    Defect(
        "casts-of-the-expert-s-actions",
        "an expert that answers 0.9 drives to the left",
        "actions of the wrong kind are cast instead of refused",
        "scratchpg/demonstrations.py",
        {"np.asarray(self.function(states))": "np.asarray(self.function(states)).astype(int)"},
        tests=DEMONSTRATIONS,
    ),
)
