// TransAct V2's kernel, first half: what is passed in, room for one candidate, and the way of a token into it.
#pragma once

#include "lanes.hpp"

using namespace lanes;

extern "C" {

struct WaylineLayer {
  // left sides [step][row padded to STEP], words; biases padded the same. One head: k and o are null, multiplied
  // into q and v, which layer 0 does not read.
  const uint32_t *q, *k, *v, *o, *w1, *w2;
  const float *q_bias, *o_bias, *b1, *b2, *gain1, *shift1, *gain2, *shift2;
  float epsilon1, epsilon2;
};

struct WaylineV2Request {
  int32_t places;      // T
  int32_t width;       // d, a multiple of 16
  int32_t hidden;      // of the feed-forward part
  int32_t layers;
  int32_t candidates;  // C
  int32_t causal;
  const float* token;      // [N, 3 d]: a token's share of x, query and value
  const float* position;   // [T, 3 d]
  const float* vector;     // [C, d / 2]: the candidates
  const float* candidate;  // [d / 2, 3 d]: share of a candidate's vector; its value is what attention adds to every row
  const float* candidate_bias;  // [3 d]
  const int32_t* token_row;  // [C, T], -1: padding
  const WaylineLayer* layer;
  const float *pool, *pool_bias;  // [d, d] input by output, [d]
  const float *gain, *shift;      // [d], or null: the output is not normalised
  float* out;              // [C, d]
  int64_t* next;           // shared by all threads: the next candidate to take
  float epsilon;
};

struct WaylineV2Tokens {
  int64_t tokens, items;   // N, rows of the table
  int32_t dim;             // D = d / 2
  const int8_t* table;     // [items, D]
  const int64_t* item_idx;       // [N]
  const int64_t* action_bits;    // [N]
  const int64_t* surface;        // [N]
  const float* item;       // [D, 4 D]: query and value of an item's vector
  const float* action;     // [1 + actions, 6 D]; row 0: of a token without any
  const float* surface_of; // [surfaces, 6 D]
  float* token;            // [N, 6 D]
  int64_t* next;           // shared by all threads: the next run of tokens to take
};
}

namespace {

constexpr int STEP = 12;  // left sides are padded to it: a multiple of every tile's height

// Height of a tile: bf16 products are as quick in lower ones, which waste less past the last row.
template <class Number>
constexpr int tile() {
  return Number::PAIR == 2 && ROWS == 6 ? 4 : ROWS;
}

// Everything one candidate needs, in one allocation that is zero at first.
template <class Number>
struct Scratch {
  const WaylineV2Request& request;
  int np, d, ldv, n = 0;
  char* memory = nullptr;
  uint32_t *key, *key_out, *value, *value_out, *query, *weight, *inner, *hidden;
  float *x, *score, *candidate, *top;
  int32_t *slot, *row;

  explicit Scratch(const WaylineV2Request& r)
      : request(r), np(round_up(r.places, W) + W), d(r.width), ldv(np / Number::PAIR) {
    constexpr int LANE = VECTORS * W, P = Number::PAIR;
    const int words = d / P + 2 * STEP, rows = d + 2 * STEP, keys = np + 2 * STEP;
    size_t size[] = {
        size_t(words) * np, size_t(words) * np, size_t(rows) * ldv, size_t(rows) * ldv,
        size_t(words) * np, size_t(keys) * LANE, size_t(words) * LANE,
        size_t(r.hidden + 2 * STEP) * LANE, size_t(rows) * np, size_t(keys) * LANE,
        size_t(np), size_t(np), size_t(3 * d), size_t(d),
    };
    uint32_t** place[] = {&key, &key_out, &value, &value_out, &query, &weight, &inner, &hidden,
                          reinterpret_cast<uint32_t**>(&x), reinterpret_cast<uint32_t**>(&score),
                          reinterpret_cast<uint32_t**>(&slot), reinterpret_cast<uint32_t**>(&row),
                          reinterpret_cast<uint32_t**>(&candidate), reinterpret_cast<uint32_t**>(&top)};
    size_t total = 0;
    for (size_t& words_of : size) total += words_of = (words_of + 31) / 16 * 16;
    if (posix_memalign(reinterpret_cast<void**>(&memory), 64, total * 4)) memory = nullptr;
    if (!memory) return;
    std::memset(memory, 0, total * 4);
    uint32_t* at = reinterpret_cast<uint32_t*>(memory);
    for (int i = 0; i < 14; at += size[i], ++i) *place[i] = at;
  }
  ~Scratch() { std::free(memory); }
};

// W rows of W floats, in place.
LANES_INLINE void transpose(vf (&t)[W]) {
#if defined(__AVX512F__)
  __m512 a[16], b[16];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    a[2 * i] = _mm512_unpacklo_ps((__m512)t[2 * i], (__m512)t[2 * i + 1]);
    a[2 * i + 1] = _mm512_unpackhi_ps((__m512)t[2 * i], (__m512)t[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m512d low0 = (__m512d)a[4 * i], low1 = (__m512d)a[4 * i + 2];
    const __m512d high0 = (__m512d)a[4 * i + 1], high1 = (__m512d)a[4 * i + 3];
    b[4 * i] = (__m512)_mm512_unpacklo_pd(low0, low1);
    b[4 * i + 1] = (__m512)_mm512_unpackhi_pd(low0, low1);
    b[4 * i + 2] = (__m512)_mm512_unpacklo_pd(high0, high1);
    b[4 * i + 3] = (__m512)_mm512_unpackhi_pd(high0, high1);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    a[i] = _mm512_shuffle_f32x4(b[i], b[4 + i], 0x88);
    a[4 + i] = _mm512_shuffle_f32x4(b[i], b[4 + i], 0xdd);
    a[8 + i] = _mm512_shuffle_f32x4(b[8 + i], b[12 + i], 0x88);
    a[12 + i] = _mm512_shuffle_f32x4(b[8 + i], b[12 + i], 0xdd);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[i] = (vf)_mm512_shuffle_f32x4(a[i], a[8 + i], 0x88);
    t[8 + i] = (vf)_mm512_shuffle_f32x4(a[i], a[8 + i], 0xdd);
    t[4 + i] = (vf)_mm512_shuffle_f32x4(a[4 + i], a[12 + i], 0x88);
    t[12 + i] = (vf)_mm512_shuffle_f32x4(a[4 + i], a[12 + i], 0xdd);
  }
#else
  for (int i = 0; i < W; ++i)
    for (int j = 0; j < i; ++j) {
      const float kept = t[i][j];
      t[i][j] = t[j][i];
      t[j][i] = kept;
    }
#endif
}

// The first layer's input, key, query and value of W tokens, gathered and turned to lanes.
template <class Number>
void gather(Scratch<Number>& t, int lane) {
  constexpr int P = Number::PAIR;
  const WaylineV2Request& request = t.request;
  const int d = t.d;
  const float *token[W], *position[W];
  for (int i = 0; i < W; ++i) {
    const int k = lane + i < t.n ? lane + i : t.n - 1;  // lanes past the last token repeat it: they stay finite
    token[i] = request.token + ptrdiff_t(t.row[k]) * 3 * d;
    position[i] = request.position + ptrdiff_t(t.slot[k]) * 3 * d;
    if (k + W < t.n) {  // the rows of the next W tokens are anywhere in megabytes: ask for them now
      const float* soon = request.token + ptrdiff_t(t.row[k + W]) * 3 * d;
      for (int f = 0; f < 3 * d; f += 16) __builtin_prefetch(soon + f);
    }
  }
  for (int part = 0; part < 3; ++part)
    for (int f0 = 0; f0 < d; f0 += W) {
      const int from = part * d + f0;
      vf rows[W];
#pragma GCC unroll 16
      for (int i = 0; i < W; ++i) rows[i] = load(token[i] + from) + load(position[i] + from);
      transpose(rows);
      const float* add = t.candidate + from;
#pragma GCC unroll 16
      for (int i = 0; i < W; i += 2) {
        const int f = f0 + i;
        if (part == 0) {
          Number::store_rows(t.key + f / P * t.np + lane, t.np, rows[i], rows[i + 1]);
          store(t.x + f * t.np + lane, rows[i] + add[i]);
          store(t.x + (f + 1) * t.np + lane, rows[i + 1] + add[i + 1]);
        } else if (part == 1) {
          Number::store_rows(t.query + f / P * t.np + lane, t.np, rows[i] + add[i], rows[i + 1] + add[i + 1]);
        } else {
          Number::store_lanes(t.value + f * t.ldv, lane, rows[i]);
          Number::store_lanes(t.value + (f + 1) * t.ldv, lane, rows[i + 1]);
        }
      }
    }
}

// Shares of x, query and value of one token.
void prepare(const WaylineV2Tokens& request, int64_t n, float* vector) {
  const int dim = request.dim, all = 6 * dim;
  float* out = request.token + n * all;
  const float* of_surface = request.surface_of + request.surface[n] * all;
  for (int i = 0; i < all; ++i) out[i] = of_surface[i];
  int64_t bits = request.action_bits[n];
  do {
    const int row = bits ? 1 + __builtin_ctzll(uint64_t(bits)) : 0;
    const float* of_action = request.action + ptrdiff_t(row) * all;
    for (int i = 0; i < all; ++i) out[i] += of_action[i];
  } while (bits &= bits - 1);
  const int64_t item = request.item_idx[n];
  if (item < 0 || item >= request.items) return;
  float length_sq = 0.0f;
  for (int i = 0; i < dim; ++i) {
    vector[i] = request.table[item * dim + i];
    length_sq += vector[i] * vector[i];
  }
  if (length_sq == 0.0f) return;
  const float scale = 1.0f / __builtin_sqrtf(length_sq);
  for (int i = 0; i < dim; ++i) out[i] += vector[i] *= scale;
  float* rest = out + 2 * dim;
  int f = 0;
  for (; f + 4 * W <= 4 * dim; f += 4 * W) {
    vf sums[4];
    for (int v = 0; v < 4; ++v) sums[v] = load(rest + f + v * W);
    for (int i = 0; i < dim; ++i)
      for (int v = 0; v < 4; ++v) sums[v] += vector[i] * load(request.item + i * 4 * dim + f + v * W);
    for (int v = 0; v < 4; ++v) store(rest + f + v * W, sums[v]);
  }
  for (; f < 4 * dim; ++f)
    for (int i = 0; i < dim; ++i) rest[f] += vector[i] * request.item[i * 4 * dim + f];
}

}  // namespace
