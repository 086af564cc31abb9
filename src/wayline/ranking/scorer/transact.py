"""Score many candidates of one request with a trained TransAct: the module's numbers at serving speed."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from wayline.errors import ConfigError, DimensionMismatchError
from wayline.ranking.modules.blocks import require_sequence, visible
from wayline.ranking.modules.transact import TransAct
from wayline.ranking.scorer.transact_native import Kernel, make_kernel
from wayline.ranking.scorer.transact_torch import score as score_in_torch
from wayline.ranking.scorer.transact_weights import gather_weights, unsupported

log = logging.getLogger(__name__)

DataType = Literal["auto", "float32", "bfloat16"]
PATHS = ("native-bfloat16", "native-float32", "torch-bfloat16", "torch-float32", "module")
_TRIAL_TOKENS, _TRIAL_CANDIDATES, _TRIAL_TURNS = 32, 32, 3
# a path farther off than that, relative to the largest output, is broken
_MOST_APART = {torch.float32: 1e-3, torch.bfloat16: 0.3}
_MODULE_BLOCK = 100  # candidates the module gets at once, to bound its memory


class TransActScorer:
    """A trained :class:`~wayline.ranking.modules.transact.TransAct`, ready to score requests.

    The sequence belongs to the request, not to the candidate: hidden tokens are left out, and the first layer's
    products are made once for all candidates (see :mod:`wayline.ranking.scorer.transact_weights`). The rest runs one
    candidate at a time in a compiled kernel where there is a compiler (:mod:`wayline.ranking.scorer.native`), else in
    torch. All paths there are get the same small request when the scorer is made, and the quickest one serves;
    :attr:`path` names it. Settings that no fast path knows (``fusion="append"``) call the module.

    The weights are copied: training the module further changes nothing here. One scorer may be used from several
    threads at once.

    Parameters
    ----------
    module : TransAct
        Trained; on any device, in any mode.
    dtype : {"auto", "float32", "bfloat16"}
        Of the matrix products; everything else is float32. ``float32`` agrees with the module to 1e-4, ``bfloat16``
        ranks alike (top 20 of 500 overlap by .98 and more). ``auto`` takes what is quickest here.
    threads : int, optional
        Cores to use, torch's number of threads if not given.
    path : str, optional
        One of ``native-bfloat16``, ``native-float32``, ``torch-bfloat16``, ``torch-float32``, ``module``, instead of
        measuring.

    Attributes
    ----------
    path : str
        What serves.
    measured_ms : dict of str to float
        Milliseconds of the small request on each path; empty where nothing had to be measured.

    Raises
    ------
    ConfigError
        If ``dtype`` or ``path`` is unknown, or the path cannot be had here.

    Examples
    --------
    >>> from wayline.ranking.modules.transact import TransActConfig
    >>> module = TransAct(TransActConfig(item_dim=4, action_dim=4, n_actions=3, first_k=2))
    >>> scorer = TransActScorer(module, dtype="float32", threads=1)
    >>> z = scorer.score(torch.tensor([2, 1, 0]), torch.rand(3, 4), torch.tensor([9, 5, 0]), 10, torch.rand(7, 4))
    >>> tuple(z.shape)
    (7, 36)
    """

    def __init__(
        self,
        module: TransAct,
        dtype: DataType = "auto",
        *,
        threads: int | None = None,
        path: str | None = None,
    ) -> None:
        if dtype not in ("auto", "float32", "bfloat16"):
            raise ConfigError(
                f"Got dtype {dtype!r}, expected 'auto', 'float32' or 'bfloat16': choose one of these."
            )
        if threads is not None and threads < 1:
            raise ConfigError(f"Got threads {threads}, expected at least 1: leave it out.")
        self.threads = threads or torch.get_num_threads()
        self.config = module.config
        self.out_dim = module.out_dim
        self.measured_ms: dict[str, float] = {}
        self._module = copy.deepcopy(module).to("cpu", torch.float32).eval().requires_grad_(False)
        reason = unsupported(module)
        if reason is not None:
            log.info("TransAct is scored by the module itself: %s.", reason)
        self._weights = gather_weights(self._module) if reason is None else None
        self._kernels: dict[str, Kernel] = {}
        self.path = self._choose(dtype, path)

    def score(
        self,
        action_type: Tensor,
        item_vector: Tensor,
        action_ts_ms: Tensor,
        request_ts_ms: int,
        candidate_vector: Tensor,
    ) -> Tensor:
        """One row a candidate: what the module gives in ``eval`` mode.

        Parameters
        ----------
        action_type : int64, shape [S]
            1..n_actions, newest first; 0 is padding.
        item_vector : float32, shape [S, D]
            Vectors of the items acted on.
        action_ts_ms : int64, shape [S]
            UTC milliseconds; actions not before the request are hidden.
        request_ts_ms : int
            When the feed is asked for.
        candidate_vector : float32, shape [C, D]
            Vectors of the candidates; any C, 0 too.

        Returns
        -------
        float32, shape [C, out_dim]

        Raises
        ------
        DimensionMismatchError, InputError
            As the module does.
        """
        request_ts = torch.tensor([request_ts_ms])
        self._require(action_type, item_vector, action_ts_ms, request_ts, candidate_vector)
        return self._score(
            self.path, action_type, item_vector, action_ts_ms, request_ts, candidate_vector
        )

    def _require(
        self,
        action_type: Tensor,
        item_vector: Tensor,
        action_ts_ms: Tensor,
        request_ts_ms: Tensor,
        candidate_vector: Tensor,
    ) -> None:
        if candidate_vector.ndim != 2 or candidate_vector.shape[1] != self.config.item_dim:
            raise DimensionMismatchError(
                got=candidate_vector.shape[-1],
                expected=self.config.item_dim,
                where="candidate_vector",
                cure="give vectors of that width, one row a candidate",
            )
        require_sequence(
            action_type[None],
            item_vector[None],
            action_ts_ms[None],
            request_ts_ms,
            candidate_vector.new_zeros(1, self.config.item_dim),
            item_dim=self.config.item_dim,
            n_actions=self.config.n_actions,
        )

    @torch.inference_mode()
    def _score(
        self,
        path: str,
        action_type: Tensor,
        item_vector: Tensor,
        action_ts_ms: Tensor,
        request_ts_ms: Tensor,
        candidate_vector: Tensor,
    ) -> Tensor:
        if path == "module":
            return self._by_module(
                action_type, item_vector, action_ts_ms, request_ts_ms, candidate_vector
            )
        seen = visible(action_type[None], action_ts_ms[None], request_ts_ms, window_ms=0)[0]
        if not bool(seen.any()) or not len(candidate_vector):
            return torch.as_tensor(
                self._module.norm(torch.zeros(len(candidate_vector), self.out_dim))
            )
        assert self._weights is not None
        tokens = self._tokens(action_type[seen], item_vector[seen].float())
        candidate_vector = candidate_vector.float()
        if path in self._kernels:
            return self._kernels[path].score(tokens, candidate_vector, threads=self.threads)
        dtype = torch.bfloat16 if path.endswith("bfloat16") else torch.float32
        return score_in_torch(self._weights, tokens, candidate_vector, dtype=dtype)

    def _tokens(self, action_type: Tensor, item_vector: Tensor) -> Tensor:
        """Visible tokens with zeros where the candidate goes, ``[S, d]``."""
        nobody = item_vector.new_zeros(1, self.config.item_dim)
        tokens = self._module.tokens(action_type[None], item_vector[None], nobody)
        if self.config.positions:
            seen = torch.ones(1, len(action_type), dtype=torch.bool)
            tokens = tokens + self._module._position_of(seen, tokens)
        return tokens[0]

    def _by_module(
        self,
        action_type: Tensor,
        item_vector: Tensor,
        action_ts_ms: Tensor,
        request_ts_ms: Tensor,
        candidate_vector: Tensor,
    ) -> Tensor:
        found = [
            self._module(
                action_type.expand(len(block), -1),
                item_vector.float().expand(len(block), -1, -1),
                action_ts_ms.expand(len(block), -1),
                request_ts_ms.expand(len(block)),
                block.float(),
            )
            for block in torch.split(candidate_vector, _MODULE_BLOCK)
        ]
        return torch.cat(found) if found else torch.zeros(0, self.out_dim)

    def _choose(self, dtype: DataType, path: str | None) -> str:
        """The path that was asked for, or the quickest of those that agree with torch's."""
        if path is not None:
            if path not in PATHS or not self._prepare(path):
                raise ConfigError(
                    f"Got path {path!r}, which is unknown or cannot be had here, expected one of {', '.join(PATHS)}: "
                    "leave it out to have one chosen."
                )
            return path
        if self._weights is None:
            return "module"
        wanted = {"auto": PATHS, "float32": ("float32", "module"), "bfloat16": ("bfloat16",)}[dtype]
        return self._measure([p for p in PATHS if p.endswith(wanted) and self._prepare(p)])

    def _prepare(self, path: str) -> bool:
        """Whether a path can be had; loads its kernel."""
        if path == "module":
            return True
        if self._weights is None:
            return False
        kind, _, dtype = path.partition("-")
        if kind == "native" and path not in self._kernels:
            kernel = make_kernel(self._weights, getattr(torch, dtype))
            if kernel is None:
                return False
            self._kernels[path] = kernel
        return True

    def _measure(self, paths: list[str]) -> str:
        """Try paths on one made-up request; the quickest that gives the module's numbers."""
        trial = _trial(self.config.item_dim, self.config.n_actions)
        expected = self._score("module", *trial)
        size = max(1.0, float(expected.abs().max()))
        for path in paths:
            apart = float((self._score(path, *trial) - expected).abs().max()) / size
            if not apart <= _MOST_APART[torch.bfloat16 if "bf" in path else torch.float32]:
                log.warning("Scorer path %s is off by %.2g and not used.", path, apart)
                continue
            self.measured_ms[path] = _fastest_ms(partial(self._score, path, *trial))
        return min(self.measured_ms, key=self.measured_ms.__getitem__, default="module")


def _trial(item_dim: int, n_actions: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """A request like a real one: random unit vectors, all tokens visible."""
    random = torch.Generator().manual_seed(0)
    vectors = torch.randn(_TRIAL_TOKENS + _TRIAL_CANDIDATES, item_dim, generator=random)
    vectors = functional.normalize(vectors)
    action_type = torch.randint(1, n_actions + 1, (_TRIAL_TOKENS,), generator=random)
    return (
        action_type,
        vectors[:_TRIAL_TOKENS],
        torch.zeros(_TRIAL_TOKENS, dtype=torch.int64),
        torch.tensor([1]),
        vectors[_TRIAL_TOKENS:],
    )


def _fastest_ms(work: Callable[[], Tensor]) -> float:
    times = []
    for _ in range(_TRIAL_TURNS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)
