// TransAct V2 (one head) for many candidates of one request: both layers of one candidate in the cache.
//
// The readable twin is the torch path of transact_v2.py, which also prepares what is passed in. Before the first
// layer a token is a sum, F = token + position + candidate, and so are its query and its value: the three shares are
// projected once per token, per weights and per candidate, and a candidate's sequence is gathered from them.
// One head lets key weights be multiplied into the query's and output weights into the value's, so that
//   scores = x' (Wq x + b), a term that all keys share left out;   attention = weights * (Wv x) + constant
// A block of at most VECTORS * W tokens (lanes) goes through a whole layer at a time. Under the causal mask a block
// reads no key after itself, and within itself only what is on its diagonal and before.
#include <utility>

#include "transact_v2_tokens.hpp"

namespace {

// Scores of the keys on a block's diagonal, and the mask: lane i of vector v sees keys up to lane + v W + i.
template <class Number, int V, int FROM = 0>
LANES_INLINE void diagonal(Scratch<Number>& t, int lane) {
  if constexpr (FROM < V) {
    constexpr int LD = V * W, P = Number::PAIR, ROWS = tile<Number>();
    float* score = t.score + (lane + FROM * W) * LD + FROM * W;
    vi number;
    for (int i = 0; i < W; ++i) number[i] = i;
    multiply<Number, V - FROM, false, ROWS>(
        W, t.d / P, Columns{t.key + lane + FROM * W, t.np}, t.query + lane + FROM * W, t.np,
        [&](int r0, auto& sums) {
          EACH_ROW(1) {
            const vf first = number >= r0 + r ? sums[r][0] : spread(-1e30f);
            store(score + (r0 + r) * LD, first);
#pragma GCC unroll 8
            for (int v = 1; v < V - FROM; ++v) store(score + (r0 + r) * LD + v * W, sums[r][v]);
          }
        });
    diagonal<Number, V, FROM + 1>(t, lane);
  }
}

// Largest score, then exp and sum, of keys [first, last) in vectors FROM..V.
template <int V, int FROM>
LANES_INLINE void find_top(const float* score, int first, int last, vf (&top)[V]) {
  for (int j = first; j < last; ++j)
#pragma GCC unroll 8
    for (int v = FROM; v < V; ++v) top[v] = larger(top[v], load(score + j * V * W + v * W));
}

template <class Number, int V, int FROM>
LANES_INLINE void exponentiate(const float* score, int first, int last, uint32_t* weight, const vf (&top)[V],
                               vf (&sum)[V]) {
  constexpr int LD = V * W;
  for (int j = first; j < last; j += 2)
#pragma GCC unroll 8
    for (int v = FROM; v < V; ++v) {
      const float* at = score + j * LD + v * W;
      const vf even = power_of_two<Number::ROUGH>(load(at) - top[v]);
      const vf odd = j + 1 < last ? power_of_two<Number::ROUGH>(load(at + LD) - top[v]) : vf{};
      sum[v] += even + odd;
      Number::store_rows(weight + j / Number::PAIR * LD + v * W, LD, even, odd);
    }
}

template <class Number, int V, int FROM = 0>
LANES_INLINE void softmax_diagonal(bool second, const float* score, int lane, uint32_t* weight, vf (&top)[V],
                                   vf (&sum)[V]) {
  if constexpr (FROM < V) {
    const int first = lane + FROM * W;
    if (second)
      exponentiate<Number, V, FROM>(score, first, first + W, weight, top, sum);
    else
      find_top<V, FROM>(score, first, first + W, top);
    softmax_diagonal<Number, V, FROM + 1>(second, score, lane, weight, top, sum);
  }
}

// Softmax over the keys before a block and on its diagonal, into weights; gives 1 / sum of each query.
template <class Number, int V>
__attribute__((noinline)) void softmax(const float* score, int past, int lane, bool causal, uint32_t* weight,
                                       vf (&inverse)[V]) {
  vf sum[V], top[V];
  EACH_VECTOR top[v] = spread(-3e38f), sum[v] = vf{};
  find_top<V, 0>(score, 0, past, top);
  if (causal) softmax_diagonal<Number, V>(false, score, lane, weight, top, sum);
  exponentiate<Number, V, 0>(score, 0, past, weight, top, sum);
  if (causal) softmax_diagonal<Number, V>(true, score, lane, weight, top, sum);
  EACH_VECTOR inverse[v] = 1.0f / sum[v];
}

// sums += value * weight over W keys from `first` on, vectors FROM..V, then the next W with one vector less.
template <class Number, int V, int FROM = 0>
LANES_INLINE void weigh_diagonal(const uint32_t* value, ptrdiff_t ldv, const uint32_t* weight, int first,
                                 vf (&sums)[tile<Number>()][V]) {
  if constexpr (FROM < V) {
    constexpr int LD = V * W, P = Number::PAIR, ROWS = tile<Number>();
    for (int k = first / P; k < (first + W) / P; ++k) {
      vi column[V];
#pragma GCC unroll 8
      for (int v = FROM; v < V; ++v) column[v] = load(weight + k * LD + v * W);
      EACH_ROW(1)
#pragma GCC unroll 8
      for (int v = FROM; v < V; ++v) sums[r][v] = Number::multiply_add(sums[r][v], value[r * ldv + k], column[v]);
    }
    weigh_diagonal<Number, V, FROM + 1>(value, ldv, weight, first + W, sums);
  }
}

// Weighted values of a block: like `multiply`, over the keys before it and then down its diagonal.
template <class Number, int V, class Done>
__attribute__((noinline)) void weigh(const Scratch<Number>& t, int past, int lane, const Done& done) {
  constexpr int P = Number::PAIR, LD = V * W, ROWS = tile<Number>();
  const ptrdiff_t ldv = t.ldv;
  const int steps = (past + P - 1) / P;
  for (int r0 = 0; r0 < t.d; r0 += ROWS) {
    vf sums[ROWS][V];
    EACH_ROW(1) EACH_VECTOR sums[r][v] = vf{};
    const uint32_t *value = t.value + r0 * ldv, *weight = t.weight;
    for (int k = 0; k < steps; ++k, weight += LD) {
      vi column[V];
      EACH_VECTOR column[v] = load(weight + v * W);
      EACH_ROW(1) EACH_VECTOR sums[r][v] = Number::multiply_add(sums[r][v], value[r * ldv + k], column[v]);
    }
    if (t.request.causal) weigh_diagonal<Number, V>(value, ldv, t.weight, lane, sums);
    done(r0, sums);
  }
}

// LayerNorm of x [d][V * W lanes] from its sums; two rows at a time to `use(f, v, even, odd)`.
template <int V, class Use>
LANES_INLINE void normalise(const float* x, ptrdiff_t ld, int d, const vf (&sum)[V], const vf (&square)[V],
                            float epsilon, const float* gain, const float* shift, Use use) {
  vf mean[V], scale[V];
  EACH_VECTOR {
    mean[v] = sum[v] * (1.0f / d);
    scale[v] = inverse_root(larger(square[v] * (1.0f / d) - mean[v] * mean[v], vf{}) + epsilon);
  }
  for (int f = 0; f < d; f += 2) EACH_VECTOR {
      const vf even = (load(x + f * ld + v * W) - mean[v]) * scale[v];
      const vf odd = (load(x + (f + 1) * ld + v * W) - mean[v]) * scale[v];
      use(f, v, even * gain[f] + shift[f], odd * gain[f + 1] + shift[f + 1]);
    }
}

// One layer of the tokens in lanes [lane, lane + V * W), and the next layer's key, query and value of them.
template <class Number, int V>
void encode(int depth, Scratch<Number>& t, int lane) {
  constexpr int P = Number::PAIR, LD = V * W, ROWS = tile<Number>();
  const WaylineV2Request& request = t.request;
  const WaylineLayer& layer = request.layer[depth];
  const int d = t.d, rows = round_up(d, STEP), steps = d / P;
  const ptrdiff_t ld = t.np;
  const bool causal = request.causal;
  const int past = causal ? lane : t.n;  // keys that every lane sees
  float* x = t.x + lane;
  vf sum[V], square[V], inverse[V];

  // adds a product's rows to the residual and keeps count for the norm
  const auto add_rows = [&](int r0, auto& sums, const float* add, auto scale) {
    vf total[V], squares[V];  // of their own: what is stored below might be sum[v] for all the compiler knows
    EACH_VECTOR total[v] = sum[v], squares[v] = square[v];
    EACH_ROW(1) {
      if (r0 + r >= d) break;
      EACH_VECTOR {
        float* at = x + (r0 + r) * ld + v * W;
        const vf y = scale(sums[r][v], v) + (load(at) + add[r0 + r]);
        store(at, y);
        total[v] += y;
        squares[v] += y * y;
      }
    }
    EACH_VECTOR sum[v] = total[v], square[v] = squares[v];
  };

  // 1. scores of every key for the block's queries
  multiply<Number, V, false, ROWS>(past, steps, Columns{t.key, t.np}, t.query + lane, t.np, [&](int r0, auto& sums) {
    EACH_ROW(1) EACH_VECTOR store(t.score + (r0 + r) * LD + v * W, sums[r][v]);
  });
  if (causal) diagonal<Number, V>(t, lane);

  // 2. softmax down the keys, 3. weighted values, the residual, and sums for the norm
  softmax<Number, V>(t.score, past, lane, causal, t.weight, inverse);
  EACH_VECTOR sum[v] = square[v] = vf{};
  const float* constant = depth ? layer.o_bias : t.candidate + 2 * d;
  weigh<Number, V>(t, past, lane, [&](int r0, auto& sums) {
    add_rows(r0, sums, constant, [&](vf y, int v) { return y * inverse[v]; });
  });
  normalise<V>(x, ld, d, sum, square, layer.epsilon1, layer.gain1, layer.shift1, [&](int f, int v, vf even, vf odd) {
    store(x + f * ld + v * W, even);
    store(x + (f + 1) * ld + v * W, odd);
    Number::store_rows(t.inner + f / P * LD + v * W, LD, even, odd);
  });

  // 4. the feed-forward part
  const int hidden_rows = round_up(request.hidden, STEP);
  multiply<Number, V, false, ROWS>(request.hidden, steps, Columns{layer.w1, hidden_rows}, t.inner, LD, [&](int r0, auto& sums) {
    EACH_ROW(2) EACH_VECTOR Number::store_rows(t.hidden + (r0 + r) / P * LD + v * W, LD,
                                               larger(sums[r][v] + layer.b1[r0 + r], vf{}),
                                               larger(sums[r + 1][v] + layer.b1[r0 + r + 1], vf{}));
  });
  EACH_VECTOR sum[v] = square[v] = vf{};
  multiply<Number, V, false, ROWS>(d, (request.hidden + P - 1) / P, Columns{layer.w2, rows}, t.hidden, LD, [&](int r0, auto& sums) {
    add_rows(r0, sums, layer.b2, [](vf y, int) { return y; });
  });

  // 5. what the next layer reads, or the largest value of each feature
  if (depth + 1 < request.layers) {
    normalise<V>(x, ld, d, sum, square, layer.epsilon2, layer.gain2, layer.shift2, [&](int f, int v, vf even, vf odd) {
      store(x + f * ld + v * W, even);
      store(x + (f + 1) * ld + v * W, odd);
      Number::store_rows(t.key_out + f / P * t.np + lane + v * W, t.np, even, odd);
    });
    const WaylineLayer& after = request.layer[depth + 1];
    const uint32_t* input = t.key_out + lane;
    multiply<Number, V, false, ROWS>(d, steps, Columns{after.q, rows}, input, t.np, [&](int r0, auto& sums) {
      EACH_ROW(2) EACH_VECTOR Number::store_rows(t.query + (r0 + r) / P * t.np + lane + v * W, t.np,
                                                 sums[r][v] + after.q_bias[r0 + r],
                                                 sums[r + 1][v] + after.q_bias[r0 + r + 1]);
    });
    multiply<Number, V, false, ROWS>(d, steps, Columns{after.v, rows}, input, t.np, [&](int r0, auto& sums) {
      EACH_ROW(1) EACH_VECTOR Number::store_lanes(t.value_out + (r0 + r) * t.ldv, lane + v * W, sums[r][v]);
    });
    return;
  }
  const int left = t.n - lane;  // lanes from here on are no tokens
  vi number;
  for (int i = 0; i < W; ++i) number[i] = i;
  vf top_even = vf{}, top_odd = vf{};
  normalise<V>(x, ld, d, sum, square, layer.epsilon2, layer.gain2, layer.shift2, [&](int f, int v, vf even, vf odd) {
    const vi beyond = number >= left - v * W;
    even = beyond ? spread(-3e38f) : even;
    odd = beyond ? spread(-3e38f) : odd;
    top_even = v ? larger(top_even, even) : even;
    top_odd = v ? larger(top_odd, odd) : odd;
    if (v + 1 < V) return;
    const float a = largest(top_even), b = largest(top_odd);
    t.top[f] = !lane || a > t.top[f] ? a : t.top[f];
    t.top[f + 1] = !lane || b > t.top[f + 1] ? b : t.top[f + 1];
  });
}

// row + sum of x[i] * matrix[i], `rows` long and `width` wide, into out.
void add_product(const float* row, const float* x, int rows, const float* matrix, int width, float* out) {
  for (int f = 0; f < width; ++f) out[f] = row[f];
  for (int i = 0; i < rows; ++i)
    for (int f = 0; f < width; ++f) out[f] += x[i] * matrix[ptrdiff_t(i) * width + f];
}

// The pooled row of one candidate: a linear map of the largest values, and the output's norm.
void pool(const WaylineV2Request& request, const float* top, bool nothing, float* out) {
  const int d = request.width;
  if (nothing)
    std::memset(out, 0, d * sizeof(float));
  else
    add_product(request.pool_bias, top, d, request.pool, d, out);
  if (!request.gain) return;
  float mean = 0.0f, square = 0.0f;
  for (int f = 0; f < d; ++f) mean += out[f] / d;
  for (int f = 0; f < d; ++f) square += (out[f] - mean) * (out[f] - mean);
  const float scale = 1.0f / __builtin_sqrtf(square / d + request.epsilon);
  for (int f = 0; f < d; ++f) out[f] = (out[f] - mean) * scale * request.gain[f] + request.shift[f];
}

template <class Number>
int score(const WaylineV2Request& request) {
  Scratch<Number> t(request);
  if (!t.memory) return 1;
  const int d = request.width;
  for (;;) {
    const int64_t c = __atomic_fetch_add(request.next, int64_t(1), __ATOMIC_RELAXED);
    if (c >= request.candidates) return 0;
    t.n = 0;
    for (int slot = 0; slot < request.places; ++slot) {
      const int32_t row = request.token_row[c * request.places + slot];
      if (row < 0) continue;
      t.slot[t.n] = slot;
      t.row[t.n++] = row;
    }
    if (t.n)
      add_product(request.candidate_bias, request.vector + c * (d / 2), d / 2, request.candidate, 3 * d, t.candidate);
    for (int lane = 0; lane < t.n; lane += W) gather(t, lane);
    for (int depth = 0; depth < request.layers && t.n; ++depth) {
      each_block<false>(t.n, [&](int lane, auto block) { encode<Number, decltype(block)::V>(depth, t, lane); });
      std::swap(t.key, t.key_out);
      std::swap(t.value, t.value_out);
    }
    pool(request, t.top, !t.n, request.out + c * d);
  }
}

}  // namespace

extern "C" {
int wayline_v2_rows() { return STEP; }
int wayline_v2_has_bfloat16() {
#if defined(LANES_BFLOAT16)
  return 1;
#else
  return 0;
#endif
}
// 0: done; 1: no memory; 2: not on this processor. Threads may call each at once with one request.
int wayline_v2_float32(const WaylineV2Request* request) { return score<Float32>(*request); }
int wayline_v2_bfloat16(const WaylineV2Request* request) {
#if defined(LANES_BFLOAT16)
  return score<Bfloat16>(*request);
#else
  (void)request;
  return 2;
#endif
}
int wayline_v2_tokens(const WaylineV2Tokens* request) {
  constexpr int64_t RUN = 512;
  float* vector = static_cast<float*>(std::malloc(request->dim * sizeof(float)));
  if (!vector) return 1;
  for (;;) {
    const int64_t first = RUN * __atomic_fetch_add(request->next, int64_t(1), __ATOMIC_RELAXED);
    if (first >= request->tokens) break;
    const int64_t last = first + RUN < request->tokens ? first + RUN : request->tokens;
    for (int64_t n = first; n < last; ++n) prepare(*request, n, vector);
  }
  std::free(vector);
  return 0;
}
}
