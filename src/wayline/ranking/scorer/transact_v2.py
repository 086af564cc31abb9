"""Score many candidates of one request with a trained TransAct V2: selection and encoder at serving speed."""

from __future__ import annotations

import copy
import logging
import math
import time
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from wayline.errors import ConfigError, DimensionMismatchError, InputError
from wayline.ranking.modules.transact_v2 import TransActV2
from wayline.ranking.scorer.transact_v2_native import V2Kernel, make_v2_kernel
from wayline.ranking.scorer.transact_v2_torch import encode_v2, token_shares
from wayline.ranking.scorer.transact_v2_weights import gather_v2_weights, unsupported_v2
from wayline.ranking.selection import (
    IndexMatrix,
    RequestTokens,
    TokenShares,
    request_tokens,
    select_tokens,
)
from wayline.ranking.token_columns import token_columns, unit_vectors
from wayline.schema import FloatMatrix
from wayline.sequences.select import Table
from wayline.sequences.tokens import TokenSequences

log = logging.getLogger(__name__)

DataType = Literal["auto", "float32", "bfloat16"]
PATHS = ("native-bfloat16", "native-float32", "torch-float32", "module")
STAGES = ("selection", "projections", "encoder")
_TRIAL_TOKENS, _TRIAL_CANDIDATES = 128, 16
_TRIAL_ROUNDS, _TRIAL_S = (
    (3, 7),
    1.0,
)  # at least and at most, and after how long no further one starts
_MOST_APART = {True: 0.3, False: 1e-3}  # by bf16 or not: a path farther off than that is broken
_MODULE_BLOCK = 50  # candidates the module gets at once, to bound its memory


class TransActV2Scorer:
    """A trained :class:`~wayline.ranking.modules.transact_v2.TransActV2`, ready to score requests.

    The whole history comes once a request. Each candidate's tokens are selected from it
    (:mod:`wayline.ranking.selection`), tokens are projected once whoever selects them
    (:mod:`wayline.ranking.scorer.transact_v2_weights`), and a compiled kernel takes one candidate at a time through
    all layers without leaving the cache. Where there is no compiler the same is done in torch. All paths there are
    get the same small request when the scorer is made, and the quickest serves; :attr:`path` names it. Settings that
    no fast path knows (several heads) call the module.

    TransAct V2 (2025), section 4: the paper's SKUT kernel fuses one layer on a GPU, in half precision and without the
    output projection. This one has the whole standard layer, skips what the causal mask hides, and runs on a CPU.

    The weights are copied: training the module further changes nothing here. One scorer may be used from several
    threads at once.

    Parameters
    ----------
    module : TransActV2
        Trained; on any device, in any mode.
    dtype : {"auto", "float32", "bfloat16"}
        Of the matrix products; everything else is float32. ``float32`` agrees with the module to 1e-4, ``bfloat16``
        ranks alike (top 20 of 500 overlap by .98 and more) and is float32 where the processor has no such products.
        ``auto`` takes what is quickest here.
    threads : int, optional
        Cores to use, torch's number of threads if not given.
    shares : TokenShares, optional
        How a candidate's places are split; 96 / 32 / 32 / 32 if not given. Not more than the module has positions.
    path : str, optional
        One of ``native-bfloat16``, ``native-float32``, ``torch-float32``, ``module``, instead of measuring.

    Attributes
    ----------
    path : str
        What serves.
    measured_ms : dict of str to float
        Milliseconds of the small request on each path; empty where nothing was measured.

    Raises
    ------
    ConfigError
        If ``dtype`` or ``path`` is unknown, the path cannot be had here, or there are more places than positions.

    Examples
    --------
    >>> from wayline.ranking.modules.transact_v2 import TransActV2Config
    >>> from wayline.sequences.tokens import TOKEN
    >>> module = TransActV2(TransActV2Config(item_dim=8, n_actions=3, tokens=8))
    >>> scorer = TransActV2Scorer(module, dtype="float32", threads=1, shares=TokenShares(4, 2, 1, 1))
    >>> table = np.random.default_rng(0).integers(-127, 128, (10, 8)).astype(np.int8)
    >>> acted = np.array([(1, 10, 0b001, 0, 1), (2, 20, 0b101, 0, 2), (7, 30, 0b010, 0, 1)], TOKEN)
    >>> z = scorer.score(TokenSequences(acted, acted, acted[:0]), table, np.arange(10))
    >>> tuple(z.shape)
    (10, 16)
    """

    def __init__(
        self,
        module: TransActV2,
        dtype: DataType = "auto",
        *,
        threads: int | None = None,
        shares: TokenShares | None = None,
        path: str | None = None,
    ) -> None:
        if dtype not in ("auto", "float32", "bfloat16"):
            raise ConfigError(
                f"Got dtype {dtype!r}, expected 'auto', 'float32' or 'bfloat16': choose one of these."
            )
        if threads is not None and threads < 1:
            raise ConfigError(f"Got threads {threads}, expected at least 1: leave it out.")
        self.threads = threads or torch.get_num_threads()
        self.shares = shares or TokenShares()
        self.config = module.config
        self.out_dim = module.out_dim
        if self.shares.total > self.config.tokens:
            raise ConfigError(
                f"Got shares of {self.shares.total} tokens for a module with {self.config.tokens} positions, "
                "expected no more: make the shares smaller, or train with more."
            )
        self.measured_ms: dict[str, float] = {}
        self._module = copy.deepcopy(module).to("cpu", torch.float32).eval().requires_grad_(False)
        reason = unsupported_v2(self._module)
        if reason is not None:
            log.info("TransAct V2 is scored by the module itself: %s.", reason)
        self._weights = gather_v2_weights(self._module) if reason is None else None
        self._kernels: dict[str, V2Kernel] = {}
        self.path = self._choose(dtype, path)

    def score(
        self,
        tokens: TokenSequences | RequestTokens,
        table: Table,
        candidates: npt.ArrayLike,
        *,
        until_ts_ms: int | None = None,
        stages_ms: dict[str, float] | None = None,
    ) -> Tensor:
        """One row a candidate: what the module gives in ``eval`` mode for the tokens selected for it.

        Parameters
        ----------
        tokens : TokenSequences or RequestTokens
            The person's whole history, as of the request.
        table : int8 array, shape [N, D]
            Item vectors as ``embeddings.linear.quantise`` makes them.
        candidates : int array, shape [C], or float array, shape [C, D]
            Items of the table, or vectors of length 1; any C, 0 too.
        until_ts_ms : int, optional
            Tokens later than this are not there.
        stages_ms : dict, optional
            Receives the milliseconds of each of ``STAGES``; pooling is part of the encoder.

        Returns
        -------
        float32, shape [C, out_dim]

        Raises
        ------
        BadVectorError, DimensionMismatchError, InputError
            Vectors of another width, actions or surfaces that the module does not know.
        """
        laid = tokens if isinstance(tokens, RequestTokens) else request_tokens(tokens)
        clock = _Clock(stages_ms)
        token_row = self.select(laid, table, candidates, until_ts_ms=until_ts_ms)
        clock.lap("selection")
        return self._score(self.path, laid, table, candidates, token_row, clock)

    def select(
        self,
        tokens: RequestTokens,
        table: Table,
        candidates: npt.ArrayLike,
        *,
        until_ts_ms: int | None = None,
    ) -> IndexMatrix:
        """The first half of :meth:`score`: tokens of every candidate, ``[C, T]``; see ``select_tokens``."""
        return select_tokens(
            tokens, table, candidates, self.shares, until_ts_ms=until_ts_ms, threads=self.threads
        )

    def encode(
        self,
        tokens: RequestTokens,
        table: Table,
        candidates: npt.ArrayLike,
        token_row: IndexMatrix,
    ) -> Tensor:
        """The second half of :meth:`score`, for tokens that are selected already (or were logged).

        Parameters
        ----------
        tokens, table, candidates
            As in :meth:`score`.
        token_row : int array, shape [C, T]
            Rows of ``tokens``, -1 for padding; T is at most the module's positions.
        """
        return self._score(self.path, tokens, table, candidates, token_row, _Clock(None))

    @torch.inference_mode()
    def _score(
        self,
        path: str,
        tokens: RequestTokens,
        table: Table,
        candidates: npt.ArrayLike,
        token_row: IndexMatrix,
        clock: _Clock,
    ) -> Tensor:
        vectors = self._checked(tokens, table, candidates, token_row)
        if path == "module":
            out = self._by_module(tokens, table, vectors, token_row)
        elif path.startswith("native"):
            kernel = self._kernels[path]
            token = kernel.project_tokens(tokens, table, threads=self.threads)
            clock.lap("projections")
            out = kernel.encode(token, vectors, token_row, threads=self.threads)
        else:
            token = self._shares(tokens, table)
            clock.lap("projections")
            assert self._weights is not None
            candidate = self._weights.candidate_share(vectors)
            row = torch.from_numpy(token_row.astype(np.int64))
            out = encode_v2(self._weights, token, candidate, row)
        clock.lap("encoder")
        return out

    def _shares(self, tokens: RequestTokens, table: Table) -> Tensor:
        """Shares of a request's tokens by torch, at least one row."""
        assert self._weights is not None
        if not len(tokens):
            return torch.zeros(1, 3 * self._weights.width)
        return token_shares(
            self._weights,
            torch.from_numpy(unit_vectors(table, tokens.item_idx)),
            torch.from_numpy(tokens.action_bits.astype(np.int64)),
            torch.from_numpy(tokens.surface.astype(np.int64)),
        )

    def _by_module(
        self, tokens: RequestTokens, table: Table, vectors: Tensor, token_row: IndexMatrix
    ) -> Tensor:
        found = []
        for start in range(0, len(token_row), _MODULE_BLOCK):
            block = slice(start, start + _MODULE_BLOCK)
            columns = token_columns(tokens, token_row[block], table)
            found.append(
                self._module(
                    torch.from_numpy(columns.action_bits),
                    torch.from_numpy(columns.surface),
                    torch.from_numpy(columns.item_vector),
                    torch.from_numpy(columns.valid),
                    vectors[block],
                )
            )
        return torch.cat(found) if found else torch.zeros(0, self.out_dim)

    def _checked(
        self, tokens: RequestTokens, table: Table, candidates: npt.ArrayLike, token_row: IndexMatrix
    ) -> Tensor:
        """Vectors of the candidates; refuses what would be read as something else, or past the end of a table."""
        wanted = np.asarray(candidates)
        vectors: FloatMatrix = (
            wanted.astype(np.float32, copy=False)
            if wanted.ndim == 2
            else unit_vectors(table, wanted.astype(np.int64))
        )
        for got, where in ((table.shape[1], "table"), (vectors.shape[1], "candidates")):
            if got != self.config.item_dim:
                raise DimensionMismatchError(
                    got=got,
                    expected=self.config.item_dim,
                    where=where,
                    cure="take vectors of the generation that the module was trained in",
                )
        places = self.config.tokens
        if len(token_row) != len(vectors) or token_row.ndim != 2 or token_row.shape[1] > places:
            raise InputError(
                f"Got token_row of shape {token_row.shape}, expected one row for each of {len(vectors)} candidates "
                f"with at most {places} places: pass what select() gave.",
                field="token_row",
            )
        if token_row.size and int(token_row.max()) >= len(tokens):
            raise InputError(
                f"Got {int(token_row.max())} in token_row, expected rows of {len(tokens):,} tokens: pass what select() "
                "gave for the same tokens.",
                field="token_row",
            )
        _require_known(tokens.action_bits, (1 << self.config.n_actions) - 1, "action_bits")
        _require_known(tokens.surface, self.config.n_surfaces, "surface")
        return torch.from_numpy(np.ascontiguousarray(vectors))

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
        usable = [p for p in PATHS[:-1] if self._prepare(p)]
        rough = [p for p in usable if p.endswith("bfloat16")]
        if dtype == "bfloat16" and rough:
            usable = rough
        elif dtype != "auto":
            usable = [p for p in usable if p not in rough]
        return self._measure(usable)

    def _prepare(self, path: str) -> bool:
        """Whether a path can be had; loads its kernel."""
        if path == "module":
            return True
        if self._weights is None:
            return False
        kind, _, dtype = path.partition("-")
        if kind == "native" and path not in self._kernels:
            kernel = make_v2_kernel(self._weights, getattr(torch, dtype))
            if kernel is None:
                return False
            self._kernels[path] = kernel
        return True

    def _measure(self, paths: list[str]) -> str:
        """Try paths on one made-up request; the quickest of those that give the module's numbers.

        They take turns and the best turn of each counts: a machine that is busy elsewhere stops one for longer than
        all of its turns take.
        """
        trial = _trial(self.config.item_dim, self.config.tokens)
        expected = self._score("module", *trial, _Clock(None))
        for path in paths:
            apart = float((self._score(path, *trial, _Clock(None)) - expected).abs().max())
            if apart <= _MOST_APART[path.endswith("bfloat16")]:
                self.measured_ms[path] = math.inf
            else:
                log.warning("Scorer path %s is off by %.2g and not used.", path, apart)
        began = time.perf_counter()
        for turn in range(_TRIAL_ROUNDS[1]):
            if turn >= _TRIAL_ROUNDS[0] and time.perf_counter() - began > _TRIAL_S:
                break
            for path, best_ms in self.measured_ms.items():
                start = time.perf_counter()
                self._score(path, *trial, _Clock(None))
                self.measured_ms[path] = min(best_ms, 1e3 * (time.perf_counter() - start))
        return min(self.measured_ms, key=self.measured_ms.__getitem__, default="module")


class _Clock:
    """Writes down how long each stage took, if anybody wants to know."""

    def __init__(self, stages_ms: dict[str, float] | None) -> None:
        self._stages_ms = stages_ms
        self._last = time.perf_counter()
        if stages_ms is not None:
            stages_ms.update(dict.fromkeys(STAGES, 0.0))

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        if self._stages_ms is not None:
            self._stages_ms[stage] = 1e3 * (now - self._last)
        self._last = now


def _require_known(values: npt.NDArray[Any], bound: int, name: str) -> None:
    """The same refusal as the module's."""
    if len(values) and int(values.max()) > bound:
        raise InputError(
            f"Got {int(values.max())} in {name}, expected 0..{bound}: map what the model does not know to 0.",
            field=name,
        )


def _trial(
    item_dim: int, places: int
) -> tuple[RequestTokens, Table, npt.NDArray[np.int64], IndexMatrix]:
    """A request like a real one, all places filled."""
    random = np.random.default_rng(0)
    table = random.integers(-127, 128, (_TRIAL_TOKENS, item_dim)).astype(np.int8)
    tokens = RequestTokens(
        item_idx=np.arange(_TRIAL_TOKENS),
        ts_ms=np.arange(_TRIAL_TOKENS),
        action_bits=np.ones(_TRIAL_TOKENS, np.uint16),
        surface=np.zeros(_TRIAL_TOKENS, np.uint8),
        lifelong_first=0,
        realtime_first=0,
        impression_first=_TRIAL_TOKENS,
    )
    token_row = random.integers(_TRIAL_TOKENS, size=(_TRIAL_CANDIDATES, places)).astype(np.int32)
    return tokens, table, np.arange(_TRIAL_CANDIDATES), token_row
