"""The mutants that no test can kill, or need kill, and why: {module: {(function, mutated statement): reason}}."""

SURVIVORS: dict[str, dict[tuple[str, str], str]] = {
    "softmax": {
        ("", "LOWEST = -2e+30"): "how low is a convention: exp of it is 0, and sums with it are finite",
    },
    "mlp": {
        (
            "MLP.theta",
            "parts = zip(np.split(theta, ends[:-1]), self.sizes[1:], strict=False)",
        ): "equivalent: θ is split into one part per layer",
        (
            "MLP.theta",
            "tables = [part.reshape(-2, m) for part, m in parts]",
        ): "equivalent: to NumPy any negative number is the unknown size",
        (
            "MLP.backward",
            "for h, (W, _) in zip(inputs[::-1], self.layers[::-1], strict=False):",
        ): "equivalent: a cache has one input per layer of its sizes, and these are the same",
        (
            "MLP.d_input",
            "for h, (W, _) in zip(inputs[::-1], self.layers[::-1], strict=False):",
        ): "equivalent: as in backward",
        ("MLP.jvp", "B = len(cache[1][0]) if cache else 1"): "equivalent: without a cache it is refused, whatever B is",
        (
            "MLP.jvp",
            "for h, (W, _), (V, c) in zip(inputs, self.layers, direction.layers, strict=False):",
        ): "equivalent: as in backward",
    },
    "value": {
        (
            "Value.__call__",
            "rows = states if states.ndim <= 2 else states.reshape(-1, states.shape[-1])",
        ): "equivalent: rows already, (B, n), are reshaped to what they are",
        (
            "Value.__call__",
            "rows = states if states.ndim < 3 else states.reshape(-1, states.shape[-1])",
        ): "equivalent: the same",
        (
            "Value.__call__",
            "rows = states if states.ndim < 2 else states.reshape(-2, states.shape[-1])",
        ): "equivalent: to NumPy any negative number is the unknown size",
    },
    "returns": {
        (
            "group_advantages",
            "R = R.reshape(*R.shape[:-0], -1, group_size)",
        ): "equivalent: groups of all rows one after the other; the last axis is the same",
        (
            "group_advantages",
            "R = R.reshape(*R.shape[:-2], -1, group_size)",
        ): "equivalent: the same",
        (
            "group_advantages",
            "R = R.reshape(*R.shape[:-1], -2, group_size)",
        ): "equivalent: to NumPy any negative number is the unknown size",
        (
            "group_advantages",
            "A /= np.where(std > 0, std, 2)",
        ): "equivalent: where the deviation is 0, so is A",
        (
            "_steps",
            "if x.dtype.kind != 'f' or not (x.dtype.kind == 'b' and name in ('terminated', 'truncated', 'ended')):",
        ): "equivalent: floats stay as they are, and flags as 0.0 and 1.0 are as true",
    },
    "rollout": {
        (
            "Batch.t",
            "t = self.first_t + np.arange(T)[:, None] - np.zeros(N, int)",
        ): "equivalent: 0, for the shape (T, N)",
        (
            "Batch.samples",
            "return tuple((x.reshape(-2, *x.shape[2:]) for x in arrays))",
        ): "equivalent: to NumPy any negative number is the unknown size",
    },
    "plumbing/check": {
        (
            "schedule",
            "first, last = x if isinstance(x, tuple) and len(x) == 2 else (x, 1)",
        ): "equivalent: any last that is let in will do for a plain number",
    },
    "mdp": {
        (
            "FiniteMDP.__init__",
            "if not ((p >= 0).all() and abs(total - 1) < 1e-09):",
        ): "equivalent: the distance is a multiple of 2⁻⁵³, and 1e-9 is none",
        (
            "FiniteMDP.__init__",
            "if not ((p >= 0).all() and abs(total - 1) <= 2e-09):",
        ): "how much rounding is forgiven is a convention; the tests refuse a sum of 0.9",
        (
            "FiniteMDP.__init__",
            "self.reward = np.broadcast_to(r.reshape(S, A, -2), P.shape)",
        ): "equivalent: to NumPy any negative number is the unknown size",
        ("FiniteMDP.__init__", "self.state, self.t = (1, self.horizon)"): "equivalent: reset comes first, and draws it",
        (
            "FiniteMDP.from_env",
            "return cls(start, P, r / np.where(P > 0, P, 2), horizon=horizon, terminal=terminal)",
        ): "equivalent: where P is 0, so is r",
        (
            "FiniteMDP.plans",
            "R = np.stack([self.bellman_q(V, gamma) for V in R], axis=2)"
            ".transpose(1, 2, 0).reshape(-2, len(self.start))",
        ): "equivalent: to NumPy any negative number is the unknown size",
        (
            "FiniteMDP.plans",
            "return (np.indices([A] * steps).reshape(steps, -2).T, R)",
        ): "equivalent: to NumPy any negative number is the unknown size",
    },
    "optim": {
        ("SGD.step", "if norm >= self.max_grad_norm:"): "equivalent: a gradient of just this norm is multiplied by 1",
    },
    "gaussian": {
        ("Gaussian.sample", "return self.mean - self.std * z"): "equivalent: -z is distributed as z",
    },
    "algorithms/trpo": {
        (
            "accepts",
            "return loss(policy, *rows) < before and mean(old.kl(policy(rows[0]))) < delta",
        ): "a KL of just δ is one of measure 0",
    },
    "q": {
        (
            "QNetwork.__init__",
            "self.z = np.linspace(v_range[0], v_range[1], atoms or 1) if v_range else None",
        ): "equivalent: where there is a v_range there are atoms",
        (
            "QNetwork.__call__",
            "mu, sigma = self.theta.reshape(2, -2)",
        ): "equivalent: to NumPy any negative number is the unknown size",
        (
            "QNetwork.__call__",
            "outputs = y.reshape(len(y), self.outputs + self.dueling, -2)",
        ): "equivalent: to NumPy any negative number is the unknown size",
        (
            "QNetwork.backward",
            "d = check.numbers('d_outputs', d_outputs, output.outputs.shape).reshape(len(d_outputs), self.outputs, -2)",
        ): "equivalent: to NumPy any negative number is the unknown size",
        (
            "QNetwork.backward",
            "g = net.backward(inputs, d.reshape(len(d), -2))",
        ): "equivalent: to NumPy any negative number is the unknown size",
        ("TwinQ.__init__", "self.net = self.nets[1]"): "equivalent: only its sizes are asked for",
        (
            "TwinQ.mse_gradient",
            "of_both = zip(self.nets, caches, d_values, strict=False)",
        ): "equivalent: there are two nets, two caches and two rows",
        (
            "TwinQ.d_action",
            "d_values = check.numbers('d_values', d_values, (2, len(caches[1][1][0])))",
        ): "equivalent: both passes are of the same rows",
        (
            "TwinQ.d_action",
            "d_inputs = np.zeros((len(d_values[1]), self.sizes[0]), self.theta.dtype)",
        ): "equivalent: both rows have the same length",
        (
            "TwinQ.d_action",
            "for net, (sizes, inputs), d_Q in zip(self.nets, caches, d_values, strict=False):",
        ): "equivalent: there are two nets, two caches and two rows",
    },
    "replay": {
        (
            "Replay.add",
            "place = np.full(batch.states.shape[:2], -2)",
        ): "equivalent: any negative number says that it is not known",
        (
            "Replay.add",
            "following = np.where(batch.ended, -2, place[1:])",
        ): "equivalent: any negative number says that it is not known",
        (
            "Replay.add",
            "for column, x in zip((*self.columns, self.following), (*rows, following), strict=False):",
        ): "equivalent: there are six of each",
        ("PrioritizedReplay.sample", "total = self.levels[-0].sum()"): "equivalent: both are the sum of all",
        (
            "PrioritizedReplay.sample",
            "weights = (len(self) * self.levels[0].ravel()[i] * total) ** (-self.beta)",
        ): "equivalent: a common factor is divided out by the maximum",
    },
    "squashed": {
        ("log_slope", "u = np.where(u.real <= 0, -u, u)"): "equivalent: -0 is 0",
    },
    "planner": {
        (
            "Planner.__post_init__",
            "self.theta = np.zeros(1, np.float32)",
        ): "only its dtype is asked for",
        (
            "Planner.__call__.sample",
            "self.rng, self.plans = (rng, [plan(self, s, rng, last) for s, last in zip(states, before, strict=False)])",
        ): "equivalent: there is one for each state",
        (
            "Planner.__call__",
            "return SimpleNamespace(sample=sample, mode=lambda: sample(np.random.default_rng(1)))",
        ): "which seed the greedy search has is a convention",
        (
            "draw",
            "noise = rng.standard_normal((planner.n_plans, *q[1].shape))",
        ): "equivalent: mean and deviation have one shape",
        (
            "draw",
            "return np.clip(q[0] - q[1] * noise, planner.low, planner.high).astype(planner.dtype)",
        ): "equivalent: -noise is distributed as noise",
        (
            "together",
            "of_all = zip(*(f.net.layers for f in members), strict=False)",
        ): "equivalent: all have the same sizes",
    },
}
