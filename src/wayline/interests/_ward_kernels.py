# ruff: noqa: PLR0915
# (the chain is one loop that reads top to bottom)
# mypy: ignore-errors
# (numba infers the types; the kernels are checked against `ward_reference` instead)
"""The compiled half of Ward clustering: a nearest-neighbour chain on a float32 Gram matrix.

Four ideas make it quick, and none of them changes the answer:

1. **The Gram matrix of cluster sums instead of distances.** Merging two clusters adds their rows
   and columns, so there is no Lance-Williams formula in the loop; distances come from ``|a|² + |b|²
   - 2 a·b`` while a row is scanned.
2. **Columns are updated late.** A merge touches one row; every other row replays the merges it has
   missed when it is next read, inside the cache. (Writing the column at once is what slows the
   usual chain: one cache miss a cluster.)
3. **Dead columns are squeezed out** whenever the active set has shrunk enough.
4. **Single precision proposes, double precision decides.** Every neighbour within the error bound
   of the smallest is recomputed in double precision from centroids, so the merges are those of a
   double-precision run.

The readable twin is ``ward_reference`` in :mod:`wayline.interests.ward`.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

# NaN cannot occur here (inputs are checked first); infinity does (it marks dead columns), so `ninf`
# is left out.
_FAST = {"nnan", "nsz", "reassoc", "contract"}
_BLOCK = (
    64  # columns whose minimum is kept apart, to search candidates in few; rows are padded to it
)
_GRAM_ROWS = 128  # rows of the Gram matrix computed at once, mirrored while in the L2 cache
_UNIT32 = 2.0**-24
_AT_CUT = 1.0 + 1e-12  # a height that equals alpha up to rounding counts as equal

OK, NOT_FINITE = 0, 1


@njit(cache=True, nogil=True, error_model="numpy")
def _prepare(X, weight, C, X32, norm_sq):
    """Centre rows and scale them to norm <= 1 (by a power of two, exactly); status and scale."""
    n, d = X.shape
    mean = np.zeros(d)
    for i in range(n):
        for k in range(d):
            mean[k] += X[i, k]
    finite = True
    for k in range(d):
        mean[k] /= n
        finite &= np.isfinite(mean[k])
    if not finite:
        return NOT_FINITE, 0.0
    largest = 0.0
    for i in range(n):
        total = 0.0
        for k in range(d):
            C[i, k] = X[i, k] - mean[k]
        total = _square_norm(C[i])
        norm_sq[i] = total
        largest = max(largest, total)
    if not np.isfinite(largest):
        return NOT_FINITE, 0.0
    scale = 1.0
    if largest > 0.0:
        scale = 2.0 ** np.ceil(np.log2(largest) / 2.0)
    inverse = 1.0 / scale
    for i in range(n):
        w = weight[i]
        for k in range(d):
            C[i, k] *= inverse
            X32[i, k] = C[i, k] * w
        norm_sq[i] = _square_norm(C[i])  # scaling the old one could overflow: inverse * inverse
    return OK, scale


@njit(forceinline=True, cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _square_norm(a):
    total = 0.0
    for k in range(a.shape[0]):
        total += a[k] * a[k]
    return total


@njit(forceinline=True, cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _gap_sq(a, b):
    total = 0.0
    for k in range(a.shape[0]):
        gap = a[k] - b[k]
        total += gap * gap
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _gram(X32, G, block):
    """``X32 @ X32.T`` into G [n, stride]: upper triangle by BLAS in blocks, mirrored from cache."""
    n = X32.shape[0]
    stride = G.shape[1]
    for i0 in range(0, n, _GRAM_ROWS):
        i1 = min(n, i0 + _GRAM_ROWS)
        rows, cols = i1 - i0, n - i0
        out = block[: rows * cols].reshape(rows, cols)
        np.dot(X32[i0:i1], X32[i0:n].T, out)
        for r in range(rows):
            G[i0 + r, i0:n] = out[r]
            G[i0 + r, n:stride] = 0.0
        for j in range(rows, cols):
            mirrored = G[i0 + j]
            for r in range(rows):
                mirrored[i0 + r] = out[r, j]


# The three functions below are written in vector instructions of _BLOCK lanes (LLVM splits them
# into what the processor has), because the compiler leaves the same loops in Python scalar: a
# minimum is not vectorised.
_VECTOR = ir.VectorType(ir.FloatType(), _BLOCK)
_FLAGS = ("nnan", "nsz", "reassoc", "contract")


def _block_at(context, builder, kind, array, lo):
    """Pointer to the ``_BLOCK`` values of a float32 array from ``lo``."""
    data = make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [lo]), _VECTOR.as_pointer())


def _load(builder, pointer):
    loaded = builder.load(pointer)
    loaded.align = 4
    return loaded


def _all_lanes(builder, value):
    """The same float32 in every lane."""
    one = builder.insert_element(
        ir.Constant(_VECTOR, ir.Undefined), value, ir.Constant(ir.IntType(32), 0)
    )
    lanes = ir.Constant(ir.VectorType(ir.IntType(32), _BLOCK), [0] * _BLOCK)
    return builder.shuffle_vector(one, ir.Constant(_VECTOR, ir.Undefined), lanes)


@intrinsic
def _distance_block(typingctx, g, moment, size, own_size, own_norm_sq, lo, out):
    """Distances to ``_BLOCK`` columns into ``out``, and the smallest of them.

    ``(2 n (size |own|² + moment) - 4 g) / (n + size)``, with ``moment = size |other|²``, which is
    ``2 n size / (n + size) · |own - other|²``.
    """

    def generate(context, builder, signature, args):
        kinds = signature.args
        dots, moments, sizes = (
            _load(builder, _block_at(context, builder, kinds[n], args[n], args[5]))
            for n in range(3)
        )
        own_size, own_norm_sq = _all_lanes(builder, args[3]), _all_lanes(builder, args[4])
        two, four = (_all_lanes(builder, ir.Constant(ir.FloatType(), c)) for c in (2.0, 4.0))
        far = builder.fadd(builder.fmul(sizes, own_norm_sq, _FLAGS), moments, _FLAGS)
        far = builder.fmul(builder.fmul(two, own_size, _FLAGS), far, _FLAGS)
        far = builder.fsub(far, builder.fmul(four, dots, _FLAGS), _FLAGS)
        value = builder.fdiv(far, builder.fadd(own_size, sizes, _FLAGS), _FLAGS)
        builder.store(value, _block_at(context, builder, kinds[6], args[6], args[5])).align = 4
        lowest = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.FloatType(), [_VECTOR]),
            f"llvm.vector.reduce.fmin.v{_BLOCK}f32",
        )
        return builder.call(lowest, [value], fastmath=_FLAGS)

    scalar = types.float32
    return scalar(g, moment, size, scalar, scalar, types.intp, out), generate


@intrinsic
def _within(typingctx, values, lo, limit):
    """Bit k is set where ``values[lo + k] <= limit``."""

    def generate(context, builder, signature, args):
        block = _load(builder, _block_at(context, builder, signature.args[0], args[0], args[1]))
        bits = builder.fcmp_ordered("<=", block, _all_lanes(builder, args[2]))
        return builder.bitcast(bits, ir.IntType(_BLOCK))

    return types.uint64(values, types.intp, types.float32), generate


@intrinsic
def _first_bit(typingctx, bits):
    """Number of the lowest set bit."""

    def generate(context, builder, signature, args):
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), generate


@njit(forceinline=True, cache=True, nogil=True, error_model="numpy")
def _scan(g, moment, size, own_size, own_norm_sq, width, out, block_min):
    """Ward distances of one cluster to every column into ``out`` (dead: infinite); the smallest."""
    smallest = np.float32(np.inf)
    for b in range(width // _BLOCK):
        low = _distance_block(g, moment, size, own_size, own_norm_sq, b * _BLOCK, out)
        block_min[b] = low
        smallest = low if low < smallest else smallest
    return smallest


@njit(forceinline=True, cache=True, nogil=True, error_model="numpy")
def _replay(g, log_a, log_b, start, stop):
    """Add to a row the column merges it has missed."""
    for t in range(start, stop):
        g[log_a[t]] += g[log_b[t]]


@njit(forceinline=True, cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _add_row(g, other, width):
    for k in range(width):
        g[k] += other[k]


@njit(forceinline=True, cache=True, nogil=True, error_model="numpy")
def _exact(C, weight, i, j):
    """Ward distance of two clusters in double precision: ``2 ni nj / (ni + nj) |ci - cj|²``."""
    return 2.0 * weight[i] * weight[j] / (weight[i] + weight[j]) * _gap_sq(C[i], C[j])


@njit(forceinline=True, cache=True, nogil=True, error_model="numpy")
def _nearest(top, before, ids, C, weight, out, block_min, width, limit):
    """Slot of the nearest of all whose float32 distance is within ``limit``.

    Ties go to ``before`` (it ends the chain), then to the lowest.
    """
    found = -1
    count = 0
    for b in range(width // _BLOCK):
        if block_min[b] <= limit:
            bits = _within(out, b * _BLOCK, limit)
            found = b * _BLOCK + np.int64(_first_bit(bits))
            count += 1 if bits & (bits - np.uint64(1)) == 0 else 2
    if count == 1:
        return found
    best = np.inf
    best_slot = -1
    if before >= 0 and out[before] <= limit:
        best = _exact(C, weight, ids[top], ids[before])
        best_slot = before
    for b in range(width // _BLOCK):
        if best == 0.0:
            break
        if block_min[b] <= limit:
            bits = _within(out, b * _BLOCK, limit)
            while bits != 0:
                k = b * _BLOCK + np.int64(_first_bit(bits))
                bits &= bits - np.uint64(1)
                if k != before:
                    gap = _exact(C, weight, ids[top], ids[k])
                    if gap < best:
                        best = gap
                        best_slot = k
    return best_slot


@njit(cache=True, nogil=True, error_model="numpy")
def _squeeze(
    G, ids, moment, size, norm_sq, height, depth, seen, log_a, log_b, n_log, width, chain, n_chain
):
    """Drop dead columns from every live row, keeping the order; gives the new number of slots."""
    slot_of = np.empty(width, np.int32)
    keep = np.empty(width, np.uint32)
    live = 0
    for s in range(width):
        if moment[s] < np.inf:
            slot_of[s] = live
            keep[live] = s
            ids[live], norm_sq[live], height[live] = ids[s], norm_sq[s], height[s]
            size[live], moment[live] = size[s], moment[s]
            depth[live], seen[live] = depth[s], seen[s]
            live += 1
    padded = (live + _BLOCK - 1) // _BLOCK * _BLOCK
    moment[live:padded] = np.inf
    for s in range(live):
        g = G[ids[s]]
        _replay(g, log_a, log_b, seen[s], n_log)
        for k in range(live):
            g[k] = g[keep[k]]
        g[live:padded] = 0.0
        seen[s] = 0
    for c in range(n_chain):
        chain[c] = slot_of[chain[c]]
    return live


@njit(cache=True, nogil=True, error_model="numpy")
def _chain(C, weight, norm_sq, G, stop_sq, merged_into, merged, heights):
    """Nearest-neighbour chain; writes merges (survivor, other, height) as they are found and gives
    their number.

    Clusters whose nearest neighbour is beyond ``stop_sq`` are set aside: Ward is reducible (merges
    never bring a third cluster nearer), so none of their later merges could be below it.
    """
    n, d = C.shape
    stride = G.shape[1]
    ids = np.arange(n).astype(np.int32)
    moment = np.empty(stride, np.float32)
    size = np.ones(stride, np.float32)
    height = np.zeros(n)
    depth = np.zeros(n, np.int32)
    seen = np.zeros(n, np.int32)
    for s in range(n):
        size[s] = weight[s]
        moment[s] = weight[s] * norm_sq[s]
    moment[n:] = np.inf
    # Unsigned, so that indexing by them needs no test for negative positions.
    log_a, log_b = np.empty(n, np.uint32), np.empty(n, np.uint32)
    chain = np.empty(n + 1, np.int32)
    out = np.empty(stride, np.float32)
    block_min = np.empty(stride // _BLOCK, np.float32)
    width, slots, alive = stride, n, n
    n_log, n_chain, n_merges, deepest, first = 0, 0, 0, 0, 0
    while alive > 1:
        if width > _BLOCK and alive * 2 <= slots:
            slots = _squeeze(
                G, ids, moment, size, norm_sq, height, depth, seen,
                log_a, log_b, n_log, width, chain, n_chain,
            )  # fmt: skip
            width = (slots + _BLOCK - 1) // _BLOCK * _BLOCK
            n_log, first = 0, 0
        if n_chain == 0:
            while moment[first] == np.inf:
                first += 1
            chain[0] = first
            n_chain = 1
        top = chain[n_chain - 1]
        before = chain[n_chain - 2] if n_chain > 1 else -1
        g = G[ids[top]]
        _replay(g, log_a, log_b, seen[top], n_log)
        seen[top] = n_log
        own_moment, moment[top] = moment[top], np.float32(np.inf)
        smallest = _scan(
            g, moment, size, size[top], np.float32(norm_sq[top]), width, out, block_min
        )
        moment[top] = own_moment
        # Each distance is off by at most 2 n_top · error: rounding of the products (d terms), of
        # each addition in the two histories, and of the formula above. So the true nearest is
        # within twice that of the smallest seen.
        error = _UNIT32 * (2.0 * d + 4.0 * deepest + 24.0)
        slack = 4.0 * error * size[top]
        if smallest - slack > stop_sq:
            for c in range(
                n_chain
            ):  # distances fall along the chain, so all of it is beyond the cut
                moment[chain[c]] = np.inf
            alive -= n_chain
            n_chain = 0
            continue
        near = _nearest(
            top, before, ids, C, weight, out, block_min, width, np.float32(smallest + slack)
        )
        if near != before:
            chain[n_chain] = near
            n_chain += 1
            continue
        n_chain -= 2
        a, b = min(top, before), max(top, before)
        i, j = ids[a], ids[b]
        gap = max(_exact(C, weight, i, j), height[a], height[b])
        if gap > stop_sq:
            moment[a] = np.inf
            moment[b] = np.inf
            alive -= 2
            continue
        merged_into[n_merges], merged[n_merges], heights[n_merges] = i, j, gap
        n_merges += 1
        total = weight[i] + weight[j]
        part_i, part_j = weight[i] / total, weight[j] / total
        for k in range(d):
            C[i, k] = part_i * C[i, k] + part_j * C[j, k]
        weight[i] = total
        norm_sq[a] = _square_norm(C[i])
        height[a] = gap
        size[a] = total
        moment[a] = total * norm_sq[a]
        moment[b] = np.inf
        depth[a] = max(depth[a], depth[b]) + 1
        deepest = max(deepest, depth[a])
        _replay(G[ids[before]], log_a, log_b, seen[before], n_log)
        _add_row(G[i], G[j], width)
        log_a[n_log], log_b[n_log] = a, b
        n_log += 1
        seen[a] = n_log  # its own row has this merge already
        alive -= 1
    return n_merges


@njit(cache=True, nogil=True, error_model="numpy")
def _label(n, merged_into, merged, heights, n_merges, cut_sq, labels):
    """Label the clusters of all merges at or below the cut, by first appearance; how many."""
    for i in range(n):
        labels[i] = i
    for t in range(n_merges):
        if heights[t] <= cut_sq:
            labels[merged[t]] = merged_into[t]
    clusters = 0
    for i in range(
        n
    ):  # a survivor has the lower row, so its label is known by the time it is asked for
        if labels[i] == i:
            labels[i] = clusters
            clusters += 1
        else:
            labels[i] = labels[labels[i]]
    return clusters


@njit(cache=True, nogil=True, error_model="numpy")
def _find_medoids(X, weight, scale, labels, clusters, medoids):
    """Member nearest to its cluster's mean: it minimises ``Σ w |x_m - x_j|²`` (eq. 2).

    Ties within rounding go to the lowest row.
    """
    n, d = X.shape
    centre = np.zeros((clusters, d))
    total = np.zeros(clusters)
    for i in range(n):
        total[labels[i]] += weight[i]
    for i in range(n):
        q = labels[i]
        part = weight[i] / total[q]
        for k in range(d):
            centre[q, k] += part * X[i, k]
    gap = np.empty(n)
    least = np.full(clusters, np.inf)
    for i in range(n):
        q = labels[i]
        gap[i] = _gap_sq(X[i], centre[q])
        least[q] = min(least[q], gap[i])
    for q in range(clusters):
        medoids[q] = -1
        least[q] = least[q] * (1.0 + 1e-9) + 1e-14 * scale * scale
    for i in range(n):
        q = labels[i]
        if medoids[q] < 0 and gap[i] <= least[q]:
            medoids[q] = i


@njit(cache=True, nogil=True, error_model="numpy")
def cluster_one(X, weight, alpha, full, G, block, labels, medoids, merged_into, merged, heights):
    """Cluster one person's rows.

    Parameters
    ----------
    X : float64 [M, D]
    weight : float64 [M]
    alpha : float
        Merges at or below it are kept.
    full : bool
        Follow the tree to its root; otherwise only as far as the cut.
    G, block : float32 buffers
        At least ``M * stride`` and ``128 * M`` long, where stride is M rounded up to 64.
    labels, medoids : int64 [M]
    merged_into, merged : int32 [M]
    heights : float64 [M]
        Written: the results, the first ``clusters`` and ``merges`` of them.

    Returns
    -------
    status, clusters, merges : int
    """
    n, d = X.shape
    if n == 0:
        return OK, 0, 0
    stride = (n + _BLOCK - 1) // _BLOCK * _BLOCK
    C = np.empty((n, d))
    X32 = np.empty((n, d), np.float32)
    norm_sq = np.empty(n)
    status, scale = _prepare(X, weight, C, X32, norm_sq)
    if status != OK:
        return status, 0, 0
    square = G[: n * stride].reshape(n, stride)
    _gram(X32, square, block)
    cut_sq = alpha * _AT_CUT / (scale * scale)
    merges = _chain(
        C, weight.copy(), norm_sq, square, np.inf if full else cut_sq, merged_into, merged, heights
    )
    clusters = _label(n, merged_into, merged, heights, merges, cut_sq, labels)
    for t in range(merges):
        heights[t] *= scale * scale
    _find_medoids(X, weight, scale, labels, clusters, medoids)
    return OK, clusters, merges


@njit(cache=True, nogil=True, error_model="numpy")
def cluster_range(X, weight, offsets, first, last, alpha, labels, medoids, counts):
    """Cluster people ``first`` to ``last`` with one set of buffers.

    Gives the first person whose rows are not finite, or -1.
    """
    most = 0
    for u in range(first, last):
        most = max(most, offsets[u + 1] - offsets[u])
    stride = (most + _BLOCK - 1) // _BLOCK * _BLOCK
    G = np.empty(most * stride, np.float32)
    block = np.empty(_GRAM_ROWS * most, np.float32)
    merged_into, merged = np.empty(most, np.int32), np.empty(most, np.int32)
    heights = np.empty(most)
    for u in range(first, last):
        lo, hi = offsets[u], offsets[u + 1]
        status, clusters, _ = cluster_one(
            X[lo:hi], weight[lo:hi], alpha, False, G, block,
            labels[lo:hi], medoids[lo:hi], merged_into, merged, heights,
        )  # fmt: skip
        if status != OK:
            return u
        counts[u] = clusters
        for q in range(clusters):
            medoids[lo + q] += lo
    return -1
