# ruff: noqa: PLR0915
# (selection is one loop that reads top to bottom)
# mypy: ignore-errors
# (numba infers the types; the kernels are checked against `select_reference` instead)
"""The compiled half of near-data selection: products, threshold and top-k in one pass.

What makes it quick, and leaves the answer exact:

1. **16-bit integers propose, single precision decides.** Unit rows times 32,767 are multiplied as
   int16 pairs into int32 (one instruction for 32 products where the processor has AVX-512 VNNI, and
   never more work than float32). A token whose product lies within the error bound of the k-th
   place is multiplied again in float32, so the places are those of the float32 product.
2. **The products are never written down.** A tile of 64 tokens by 6 candidates stays in registers,
   is compared there with each candidate's threshold, and leaves one bit a token behind.
3. **The threshold is guessed from an even sample of the tokens.** A guess too high shows in the end
   (fewer than k tokens are surely above it) and that candidate is scanned again with a threshold
   that is known to hold; a guess too low fills the candidate's room, which is then cut to the best
   k of what was seen. Both are rare and neither changes the answer.

The readable twin is ``select_reference`` in :mod:`wayline.sequences.select`.
"""

from __future__ import annotations

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils, config
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from wayline.sequences._token_kernels import LANES, SCALE, TOKENS


def _has_wide_vectors():
    """Whether numba compiles for a processor with AVX-512 (its settings may say another one)."""
    if config.CPU_NAME is not None:
        return "+avx512bw" in (config.CPU_FEATURES or "")
    return bool(llvm.get_host_cpu_features().get("avx512bw"))


GROUP = 6  # candidates a tile has
WIDE = _has_wide_vectors()
_VECTORS = 4 if WIDE else 1  # token vectors multiplied at once: as many sums as registers hold
CHUNK = 96  # candidates whose rooms are filled at once: they stay in the L2 cache
_MANY = 2048  # from here on a merge sort is quicker than counting
_ONE = SCALE * SCALE
_NEVER, _ALWAYS = np.int32(2**31 - 1), np.int32(-(2**31))
_NONE = np.float32(-np.inf)

_I16, _I32, _I64, _F32 = ir.IntType(16), ir.IntType(32), ir.IntType(64), ir.FloatType()
_INTS, _FLOATS = ir.VectorType(_I32, LANES), ir.VectorType(_F32, LANES)
_PAIRS, _PRODUCTS = ir.VectorType(_I16, 2 * LANES), ir.VectorType(_I32, 2 * LANES)


def _at(context, builder, kind, array, element, offset):
    """Pointer to an array's data, as ``element``, ``offset`` of them in."""
    pointer = make_array(kind)(context, builder, array).data
    return builder.gep(builder.bitcast(pointer, element.as_pointer()), [offset])


def _load(builder, pointer, vector=None, align=4):
    if vector is not None:
        pointer = builder.bitcast(pointer, vector.as_pointer())
    loaded = builder.load(pointer)
    loaded.align = align
    return loaded


def _all_lanes(builder, value, vector):
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(_I32, 0))
    lanes = ir.Constant(_INTS, [0] * LANES)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), lanes)


def _add_pairs(builder, a, b, total):
    """``total[l] + a[2l] b[2l] + a[2l+1] b[2l+1]``: the form that LLVM knows as one instruction."""
    product = builder.mul(builder.sext(a, _PRODUCTS), builder.sext(b, _PRODUCTS), flags=("nsw",))
    none = ir.Constant(_PRODUCTS, ir.Undefined)
    even, odd = (
        builder.shuffle_vector(product, none, ir.Constant(_INTS, list(range(first, 2 * LANES, 2))))
        for first in (0, 1)
    )
    return builder.add(total, builder.add(even, odd))


def _products(context, builder, kinds, arguments):
    """Emit the products of ``_VECTORS`` token vectors with ``GROUP`` candidates; sums by both."""
    tokens, token_at, candidates, candidate_at, pairs = arguments[:5]
    zero = ir.Constant(_INTS, [0] * LANES)
    sums = [
        [cgutils.alloca_once_value(builder, zero) for _ in range(_VECTORS)] for _ in range(GROUP)
    ]
    token_base = _at(context, builder, kinds[0], tokens, _I32, token_at)
    candidate_base = _at(context, builder, kinds[2], candidates, _I32, candidate_at)
    with cgutils.for_range(builder, pairs) as loop:
        row = builder.gep(token_base, [builder.mul(loop.index, ir.Constant(_I64, TOKENS))])
        column = builder.gep(candidate_base, [builder.mul(loop.index, ir.Constant(_I64, GROUP))])
        vectors = [
            _load(builder, builder.gep(row, [ir.Constant(_I64, v * LANES)]), _PAIRS)
            for v in range(_VECTORS)
        ]
        for g in range(GROUP):
            pair = _load(builder, builder.gep(column, [ir.Constant(_I64, g)]))
            pair = builder.bitcast(_all_lanes(builder, pair, _INTS), _PAIRS)
            for v in range(_VECTORS):
                total = _add_pairs(builder, vectors[v], pair, builder.load(sums[g][v]))
                builder.store(total, sums[g][v])
    return [[builder.load(place) for place in row] for row in sums]


@intrinsic
def _tile_bits(
    typingctx,
    tokens,
    token_at,
    candidates,
    candidate_at,
    pairs,
    floor,
    floor_at,
    out,
    sums,
    sums_at,
):
    """Bit t of ``out[g]`` is set where token t's product with candidate g reaches its floor.

    The products are left in ``sums`` [GROUP, TOKENS], which stays in the L1 cache.
    """

    def generate(context, builder, signature, arguments):
        kinds = signature.args
        products = _products(context, builder, kinds, arguments)
        floors = _at(context, builder, kinds[5], arguments[5], _I32, arguments[6])
        places = _at(context, builder, kinds[8], arguments[8], _I32, arguments[9])
        outs = _at(context, builder, kinds[7], arguments[7], _I64, ir.Constant(_I64, 0))
        for g in range(GROUP):
            low = _load(builder, builder.gep(floors, [ir.Constant(_I64, g)]))
            low = _all_lanes(builder, low, _INTS)
            bits = ir.Constant(_I64, 0)
            for v in range(_VECTORS):
                place = builder.gep(places, [ir.Constant(_I64, g * TOKENS + v * LANES)])
                place = builder.bitcast(place, _INTS.as_pointer())
                builder.store(products[g][v], place).align = 4
                reach = builder.icmp_signed(">=", products[g][v], low)
                part = builder.zext(builder.bitcast(reach, ir.IntType(LANES)), _I64)
                bits = builder.or_(bits, builder.shl(part, ir.Constant(_I64, v * LANES)))
            builder.store(bits, builder.gep(outs, [ir.Constant(_I64, g)])).align = 8
        return context.get_dummy_value()

    at = types.intp
    return types.void(tokens, at, candidates, at, at, floor, at, out, sums, at), generate


@intrinsic
def _tile_tops(typingctx, tokens, token_at, candidates, candidate_at, pairs, out, out_at, stride):
    """Largest product in each lane of the tile's vectors, ``LANES`` numbers a candidate."""

    def generate(context, builder, signature, arguments):
        kinds = signature.args
        sums = _products(context, builder, kinds, arguments)
        outs = _at(context, builder, kinds[5], arguments[5], _I32, arguments[6])
        for g in range(GROUP):
            top = sums[g][0]
            for other in sums[g][1:]:
                top = builder.select(builder.icmp_signed(">", other, top), other, top)
            place = builder.gep(outs, [builder.mul(arguments[7], ir.Constant(_I64, g))])
            builder.store(top, builder.bitcast(place, _INTS.as_pointer())).align = 4
        return context.get_dummy_value()

    at = types.intp
    return types.void(tokens, at, candidates, at, at, out, at, at), generate


@intrinsic
def _dot(typingctx, rows, row_at, vectors, vector_at, width):
    """Inner product of an int8 row and a float32 vector; ``width`` is a multiple of ``LANES``."""

    def generate(context, builder, signature, arguments):
        kinds = signature.args
        row = _at(context, builder, kinds[0], arguments[0], ir.IntType(8), arguments[1])
        vector = _at(context, builder, kinds[2], arguments[2], _F32, arguments[3])
        total = cgutils.alloca_once_value(builder, ir.Constant(_FLOATS, [0.0] * LANES))
        blocks = builder.udiv(arguments[4], ir.Constant(_I64, LANES))
        with cgutils.for_range(builder, blocks) as loop:
            at = builder.mul(loop.index, ir.Constant(_I64, LANES))
            bytes_ = ir.VectorType(ir.IntType(8), LANES)
            a = builder.sitofp(_load(builder, builder.gep(row, [at]), bytes_, 1), _FLOATS)
            b = _load(builder, builder.gep(vector, [at]), _FLOATS)
            product = builder.fmul(a, b, ("contract",))
            builder.store(builder.fadd(builder.load(total), product, ("contract",)), total)
        name = f"llvm.vector.reduce.fadd.v{LANES}f32"
        kind = ir.FunctionType(_F32, [_F32, _FLOATS])
        add = cgutils.get_or_insert_function(builder.module, kind, name)
        flags = ("reassoc", "nsz")
        return builder.call(add, [ir.Constant(_F32, -0.0), builder.load(total)], fastmath=flags)

    at = types.intp
    return types.float32(rows, at, vectors, at, at), generate


def _compare_bits(whole, symbol):
    """Make a function: bit l is set where ``values[at + l] symbol limit``."""
    vector, scalar = (_INTS, types.int32) if whole else (_FLOATS, types.float32)

    @intrinsic
    def bits(typingctx, values, at, limit):
        def generate(context, builder, signature, arguments):
            place = _at(
                context, builder, signature.args[0], arguments[0], vector.element, arguments[1]
            )
            compare = builder.icmp_signed if whole else builder.fcmp_ordered
            found = compare(
                symbol, _load(builder, place, vector), _all_lanes(builder, arguments[2], vector)
            )
            return builder.zext(builder.bitcast(found, ir.IntType(LANES)), _I64)

        return types.uint64(values, types.intp, scalar), generate

    return bits


_reach_ints = _compare_bits(True, ">=")
_reach = _compare_bits(False, ">=")
_exceed = _compare_bits(False, ">")


@intrinsic
def _first_bit(typingctx, bits):
    """Number of the lowest set bit."""

    def generate(context, builder, signature, args):
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.intp(types.uint64), generate


@intrinsic
def _count_bits(typingctx, bits):
    def generate(context, builder, signature, args):
        return builder.ctpop(args[0])

    return types.intp(types.uint64), generate


@njit(cache=True, nogil=True, error_model="numpy")
def _pack_candidates(vectors, length, first, last, packed):
    """Candidates ``first`` to ``last`` as int16 unit vectors, int32 [groups, W / 2, GROUP]."""
    width = vectors.shape[1]
    whole = np.empty(width, np.int16)
    pairs = whole.view(np.int32)
    packed[:] = 0
    for c in range(first, last):
        scale = SCALE / length[c] if length[c] > 0.0 else 0.0
        for j in range(width):
            whole[j] = np.int16(np.rint(vectors[c, j] * scale))
        group, lane = (c - first) // GROUP, (c - first) % GROUP
        for j in range(width // 2):
            packed[group, j, lane] = pairs[j]


@njit(cache=True, nogil=True, error_model="numpy")
def _place_of(values, n, place):
    """A value that at least ``place`` of n values reach, and few more than that."""
    low, high = np.int64(values[0]), np.int64(values[0])
    for i in range(n):
        low, high = min(low, values[i]), max(high, values[i])
    while high - low > 1:
        middle = (low + high) // 2
        count = 0
        for b in range(0, n, LANES):
            count += _count_bits(_reach_ints(values, b, np.int32(middle)))
        if count >= place:
            low = middle
            if count <= place + place // 8:
                break
        else:
            high = middle
    return np.int32(low)


@njit(cache=True, nogil=True, error_model="numpy")
def _cut(rank, product, n, k, slack):
    """Drop most of what is surely not among the k best, keeping the order; what is left.

    Room behind n must be ``_ALWAYS`` up to a multiple of LANES.
    """
    low, high = np.int64(_ALWAYS), np.int64(_ONE * 1.001)
    while high - low > 1:
        middle = (low + high) >> 1
        count = 0
        for b in range(0, n, LANES):
            count += _count_bits(_reach_ints(product, b, np.int32(middle)))
        if count >= k:
            low = middle
            if count <= k + 8:
                break
        else:
            high = middle
    low -= np.int64(2.0 * slack * _ONE) + 1
    left = 0
    for i in range(n):
        rank[left] = rank[i]
        left += 1 if product[i] >= low else 0
    return left


@njit(cache=True, nogil=True, error_model="numpy")
def _merge_sort(rank, similarity, n, k, rank_out, similarity_out):
    """As :func:`_sort`, from runs of 1 upwards."""
    order, merged = np.arange(n), np.empty(n, np.int64)
    run = 1
    while run < n:
        for begin in range(0, n, 2 * run):
            middle, end = min(n, begin + run), min(n, begin + 2 * run)
            a, b = begin, middle
            for at in range(begin, end):
                # `>=`: equal ones keep their order
                first = b >= end or (a < middle and similarity[order[a]] >= similarity[order[b]])
                merged[at] = order[a] if first else order[b]
                a, b = (a + 1, b) if first else (a, b + 1)
        order, merged = merged, order
        run *= 2
    for i in range(min(n, k)):
        rank_out[i], similarity_out[i] = rank[order[i]], similarity[order[i]]


@njit(cache=True, nogil=True, error_model="numpy")
def _sort(rank, similarity, n, k, rank_out, similarity_out):
    """The k best of n, best first, equal ones in the order they stand in.

    Each one's place is the number of those before it: quadratic, in vectors of 16, without a
    branch. Room behind n must be -inf up to a multiple of LANES.
    """
    if n > _MANY:
        _merge_sort(rank, similarity, n, k, rank_out, similarity_out)
        return
    for i in range(n):
        x = similarity[i]
        own = i // LANES * LANES
        place = 0
        for b in range(0, own, LANES):
            place += _count_bits(_reach(similarity, b, x))
        before = (np.uint64(1) << np.uint64(i - own)) - np.uint64(1)
        place += _count_bits(_exceed(similarity, own, x) | _reach(similarity, own, x) & before)
        for b in range(own + LANES, n, LANES):
            place += _count_bits(_exceed(similarity, b, x))
        if place < k:
            rank_out[place], similarity_out[place] = rank[i], x


@njit(cache=True, nogil=True, error_model="numpy")
def _settle(
    rows, inverse, vectors, c, slack, rank, product, similarity, done, held, k,
    rank_out, similarity_out,
):  # fmt: skip
    """Multiply what came since ``done`` in float32 and keep the k best, sorted; how many."""
    width = rows.shape[1]
    if done == 0 and held > k + 8:
        product[held : (held + LANES - 1) // LANES * LANES] = _ALWAYS
        held = _cut(rank, product, held, k, slack)
    # What came is older than what is kept, so that among equals it loses.
    bar = similarity[k - 1] if done == k else _NONE
    left = done
    for i in range(done, held):
        r = np.intp(rank[i])
        x = _dot(rows, r * width, vectors, c * width, width) * inverse[r]
        rank[left], similarity[left] = rank[i], x
        left += 1 if x > bar else 0
    if left == k and done == k:
        return k
    similarity[left : (left + LANES - 1) // LANES * LANES] = _NONE
    _sort(rank, similarity, left, k, rank_out, similarity_out)
    kept = min(left, k)
    rank[:kept], similarity[:kept] = rank_out[:kept], similarity_out[:kept]
    return kept


@njit(cache=True, nogil=True, error_model="numpy")
def _floor_of(similarity, length, slack):
    """Integer product that every token with at least this similarity reaches."""
    return np.int32(np.floor((similarity / length - slack) * _ONE))


@njit(cache=True, nogil=True, error_model="numpy")
def select_range(
    rows, inverse, position, n, packed, sample, n_sample, place, vectors, length,
    first, last, k, room, patience, token_idx, similarity,
):  # fmt: skip
    """Select for candidates ``first`` to ``last``.

    Parameters
    ----------
    rows, inverse, position, n
        As :func:`gather` leaves them.
    packed, sample : int32 [blocks, W / 2, TOKENS]
        As :func:`pack` leaves them; padding is 0. ``n_sample`` 0: no sample, all tokens are kept
        until the room is full.
    place : int
        The threshold is what so many of the sample's lane tops reach.
    vectors : float32 [C, W]
    length : float64 [C]
        Their lengths.
    room : int
        Tokens held for a candidate, a multiple of LANES, more than k.
    patience : int
        Full rooms a candidate, on average, that are borne with.
    token_idx : int32 [C, k]
    similarity : float32 [C, k]
        Written.

    Returns
    -------
    bool
        False: given up, because rooms were full again and again.
    """
    width = rows.shape[1]
    pairs = width // 2
    # Half a unit a number and side, by Cauchy-Schwarz; then the rounding of float32.
    slack = 2.02 * 0.502 * np.sqrt(np.float64(width)) / SCALE + (width + 8.0) * 2.0**-23
    blocks = (n + TOKENS - 1) // TOKENS
    last_bits = ~np.uint64(0) >> np.uint64(blocks * TOKENS - n)
    n_tops = n_sample // TOKENS * LANES * (4 // _VECTORS)
    tops = np.empty((GROUP, n_tops), np.int32)
    wanted = np.empty((CHUNK // GROUP, pairs, GROUP), np.int32)
    floor = np.empty(CHUNK, np.int32)
    held, done = np.empty(CHUNK, np.int64), np.empty(CHUNK, np.int64)
    ranks, products = np.empty((CHUNK, room), np.int32), np.empty((CHUNK, room), np.int32)
    found = np.empty((CHUNK, room), np.float32)
    sums = np.empty((GROUP, TOKENS), np.int32)
    best, best_similarity = np.empty(k, np.int32), np.empty(k, np.float32)
    bits = np.empty(GROUP, np.uint64)
    for begin in range(first, last, CHUNK):
        end = min(last, begin + CHUNK)
        groups = (end - begin + GROUP - 1) // GROUP
        _pack_candidates(vectors, length, begin, end, wanted)
        floor[:] = _NEVER
        for g in range(groups):
            for b in range(n_sample // TOKENS):
                for v in range(4 // _VECTORS):
                    _tile_tops(
                        sample, b * pairs * TOKENS + v * LANES, wanted, g * pairs * GROUP, pairs,
                        tops, (b * (4 // _VECTORS) + v) * LANES, n_tops,
                    )  # fmt: skip
            for c in range(g * GROUP, min(g * GROUP + GROUP, end - begin)):
                floor[c] = _place_of(tops[c - g * GROUP], n_tops, place) if n_tops else _ALWAYS
        for c in range(end - begin):
            held[c], done[c] = 0, 0
            if length[begin + c] == 0.0:  # as near to each: the newest, of similarity 0
                floor[c] = _NEVER
                held[c] = min(n, k)
                for i in range(held[c]):
                    token_idx[begin + c, i], similarity[begin + c, i] = position[i], 0.0
        scan = n > 0
        full = 0
        while scan:
            for b in range(blocks):
                if full > patience * (end - begin):
                    return False
                for g in range(groups):
                    for v in range(4 // _VECTORS):
                        _tile_bits(
                            packed, b * pairs * TOKENS + v * LANES, wanted, g * pairs * GROUP,
                            pairs, floor, g * GROUP, bits, sums, v * LANES,
                        )  # fmt: skip
                        for x in range(GROUP):
                            hits = bits[x] << np.uint64(v * LANES)
                            if b == blocks - 1:
                                hits &= last_bits
                            if hits == 0:
                                continue
                            c = g * GROUP + x
                            if held[c] + TOKENS > room:
                                held[c] = _settle(
                                    rows, inverse, vectors, begin + c, slack, ranks[c],
                                    products[c], found[c], done[c], held[c], k,
                                    best, best_similarity,
                                )  # fmt: skip
                                done[c] = held[c]
                                full += 1
                                floor[c] = max(
                                    floor[c],
                                    _floor_of(found[c, k - 1], length[begin + c], slack),
                                )
                            at = held[c]
                            while hits != 0:
                                token = _first_bit(hits)
                                ranks[c, at] = b * TOKENS + token
                                products[c, at] = sums[x, token]
                                at += 1
                                hits &= hits - np.uint64(1)
                            held[c] = at
            scan = False
            for c in range(end - begin):
                if floor[c] == _NEVER:
                    continue
                held[c] = _settle(
                    rows, inverse, vectors, begin + c, slack, ranks[c], products[c], found[c],
                    done[c], held[c], k, best, best_similarity,
                )  # fmt: skip
                if floor[c] != _ALWAYS:
                    sure = _ALWAYS
                    if held[c] == k:
                        sure = _floor_of(found[c, k - 1], length[begin + c], slack)
                    if sure < floor[c]:  # the guess was too high
                        floor[c], held[c], done[c] = sure, 0, 0
                        scan = True
                        continue
                floor[c] = _NEVER
                for i in range(held[c]):
                    token_idx[begin + c, i] = position[ranks[c, i]]
                    similarity[begin + c, i] = found[c, i]
        for c in range(end - begin):
            token_idx[begin + c, held[c] : k] = -1
            similarity[begin + c, held[c] : k] = 0.0
    return True
