"""Mistakes of model-based code, in the form of `defects.py`; nearly all were found in public code."""

from .defects import Defect

DYNAMICS = ("tests/test_dynamics.py", "tests/derivation/test_14_model.py")
PLANNER = ("tests/test_mpc.py", "tests/derivation/test_14_model.py")
MPC = ("tests/test_mpc.py",)
MDP = ("tests/derivation/test_14_model.py",)

MODEL_DEFECTS = (
    Defect(
        "bootstrap-redrawn",
        "MPC: the members of the ensemble agree everywhere, also where there are no data",
        "each fit draws the bootstraps anew, so that every member learns from all rows in the end",
        "scratchpg/algorithms/mpc.py",
        {
            "shuffler.integers(known, total, (len(models), total - known))": "shuffler.integers(0, total, "
            "(len(models), total))",
            "rows = np.concatenate([rows, drawn], axis=1)": "rows = drawn",
        },
        tests=MPC,
    ),
    Defect(
        "one-bootstrap-for-all",
        "MPC: the members of the ensemble differ only by how they began",
        "the bootstrap is drawn once for all members",
        "scratchpg/algorithms/mpc.py",
        {"(len(models), total - known))": "(1, total - known)).repeat(len(models), axis=0)"},
        tests=MPC,
    ),
    Defect(
        "resets-as-transitions",
        "MPC: now and then the model expects to be carried back to the start",
        "the row in which an environment resets itself is learned as a step",
        "scratchpg/algorithms/mpc.py",
        {
            "(*batch.samples(), batch.states[1:][batch.valid])": "(*(x.reshape(-1, *x.shape[2:]) for x in "
            "(batch.states[:-1], batch.actions, batch.states[1:])),)"
        },
        tests=MPC,
    ),
    Defect(
        "sigma-of-a-constant",
        "Dynamics: NaN from the first step, if one number of the state never changes",
        "a constant column is divided by its deviation, 0",
        "scratchpg/dynamics.py",
        {"np.where(np.ptp(x, axis=0) > 0, x.std(axis=0), 1)": "x.std(axis=0)"},
        tests=DYNAMICS,
    ),
    Defect(
        "sigma-of-the-wrong-thing",
        "Dynamics: the parts of the state that move slowly are hardly learned",
        "differences are scaled by the deviation of the states",
        "scratchpg/dynamics.py",
        {"(next_states - states - mu) / sigma - f": "(next_states - states - mu) / self.scales[1] - f"},
        tests=DYNAMICS,
    ),
    Defect(
        "state-for-difference",
        "Dynamics: predictions are off by a state",
        "the network's output is taken for the next state, though it learned the difference",
        "scratchpg/dynamics.py",
        {"return states + (mu + sigma * self": "return (mu + sigma * self"},
        tests=DYNAMICS,
    ),
    Defect(
        "no-elites",
        "CEM: with few plans all actions are NaN",
        "the number of elites is int(0.1 n), which is 0 for fewer than 10 plans, and nothing refuses it",
        "scratchpg/planner.py",
        {"n_elites=self.n_elites, ": ""},
        tests=PLANNER,
    ),
    Defect(
        "best-draw-returned",
        "CEM: actions jitter from step to step",
        "the best plan of the last round is returned, instead of the mean of its elites",
        "scratchpg/planner.py",
        {
            'return q[0] if planner.actions == "Box" else q.argmax(axis=1)': "return plans[elites[0]]",
        },
        tests=PLANNER,
    ),
    Defect(
        "warm-start-out-of-bounds",
        "MPC in a Box of actions from 1 to 3: the last steps of all plans are 1",
        "the plan before is shifted by a step and filled up with 0",
        "scratchpg/planner.py",
        {"np.vstack([before[1:], q[0, -1:]])": "np.vstack([before[1:], 0 * q[0, -1:]])"},
        tests=PLANNER,
    ),
    Defect(
        "warm-start-not-shifted",
        "MPC: every action comes one step late",
        "the plan before is taken as it is, its first action included, which is done already",
        "scratchpg/planner.py",
        {"np.vstack([before[1:], q[0, -1:]])": "before"},
        tests=PLANNER,
    ),
    Defect(
        "refit-on-unclipped-plans",
        "CEM: plans run away beyond the bounds, where all actions are the same",
        "plans are clipped to be scored, but q is fitted to what they were before",
        "scratchpg/planner.py",
        {
            "return np.clip(q[0] + q[1] * noise, planner.low, planner.high)": "return q[0] + q[1] * noise",
            "imagined_returns(planner, state, plans, predict)": "imagined_returns(planner, state, "
            "np.clip(plans, planner.low, planner.high) if planner.actions == 'Box' else plans, predict)",
        },
        tests=PLANNER,
    ),
    Defect(
        "worst-plans-cloned",
        "CEM: the planner does what is worst",
        "plans are sorted by their returns from below",
        "scratchpg/planner.py",
        {"np.argsort(-R": "np.argsort(R"},
        tests=PLANNER,
    ),
    Defect(
        "horizon-off-by-one",
        "MPC: the last action of every plan is arbitrary",
        "a plan of H actions is followed for H - 1 steps",
        "scratchpg/planner.py",
        {"planner.gamma ** np.arange(H) @ r)": "planner.gamma ** np.arange(H - 1) @ r[:-1])"},
        tests=PLANNER,
    ),
    Defect(
        "reward-of-the-state-before",
        "MPC: with a reward of where one comes to, the planner is always one step late",
        "the reward function gets s_k twice, in the place of s_{k+1} too",
        "scratchpg/planner.py",
        {"planner.reward(s, a, next_s)": "planner.reward(s, a, s)"},
        tests=PLANNER,
    ),
    Defect(
        "paid-after-the-end",
        "MPC: plans that end the episode look as good as those that do not",
        "rewards after a terminal state are counted",
        "scratchpg/planner.py",
        {"np.logical_and.accumulate(np.logical_not(": "(np.logical_not("},
        tests=PLANNER,
    ),
    Defect(
        "the-step-that-ends-unpaid",
        "MPC: the reward of reaching a goal that ends the episode is never seen",
        "the end is looked at before the reward of the step that leads to it",
        "scratchpg/planner.py",
        {"planner.terminal(s)": "planner.terminal(next_s)"},
        tests=PLANNER,
    ),
    Defect(
        "members-mixed",
        "MPC: R̂ is too sure of itself: the errors of the models cancel within every plan",
        "all members see the state that the first of them predicted",
        "scratchpg/planner.py",
        {"accumulate(actions, predict": "accumulate(actions, lambda s, a: predict(np.concatenate([s[:N]] * E), a)"},
        tests=PLANNER,
    ),
    Defect(
        "values-of-another-step",
        "FiniteMDP: the optimal policy of a short horizon wanders about before it ends",
        "V*_t looks at V*_t of the step before in the list, the last but one",
        "scratchpg/mdp.py",
        {"V.append(Q[-1].max(axis=1))": "V.append(Q[0].max(axis=1))"},
        tests=MDP,
    ),
    Defect(
        "counts-as-frequencies-of-all",
        "certainty equivalence: actions that were tried seldom look as if they led nowhere",
        "n(s,a,s') is divided by the number of all data of s, not of (s,a)",
        "scratchpg/mdp.py",
        {"tried = n.sum(axis=2, keepdims=True)": "tried = n.sum(axis=(1, 2), keepdims=True)"},
        tests=MDP,
    ),
)
