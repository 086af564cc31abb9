// Small matrix products on numbers that stay in the cache, for the scorers' kernels.
//
// Activations stand feature by feature, tokens side by side in the lanes of a vector: [feature][token].
// A product takes one word (32 bits) of its left side, spreads it over the lanes, and multiplies it with
// vectors of its right side. What makes this order pay:
//   - sums over features (LayerNorm) and over keys (softmax) run down the rows, never across lanes;
//   - every result can be the next product's left or right side as it stands: nothing is transposed.
// A word holds one float, or two bf16 of neighbouring rows, multiplied and added in float at once.
//
// Written with the vector extensions of gcc and clang, so that the widest vectors of the machine are used;
// intrinsics only where the language has no word for an instruction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#if defined(__AVX512F__) || defined(__AVX2__) || defined(__AVX512BF16__)
#include <immintrin.h>
#endif

namespace lanes {

#if defined(__AVX512F__)
constexpr int W = 16;     // floats a vector has
constexpr int ROWS = 6;   // of a tile: ROWS x VECTORS sums, VECTORS right sides and one left side
constexpr int VECTORS = 4;  // ... have to fit the registers (32 here, 16 below)
#elif defined(__AVX2__)
constexpr int W = 8, ROWS = 6, VECTORS = 2;
#else
constexpr int W = 4, ROWS = 4, VECTORS = 2;
#endif

typedef float vf __attribute__((vector_size(4 * W)));
typedef int32_t vi __attribute__((vector_size(4 * W)));
// As they stand in memory, at any float. Only for loads and stores: a template that deduces such a type forgets what
// is said here about its alignment.
typedef float vf_at __attribute__((vector_size(4 * W), aligned(4), may_alias));
typedef int32_t vi_at __attribute__((vector_size(4 * W), aligned(4), may_alias));
#if defined(__AVX512F__)
#define LANES_HALVES 1  // half a vector costs half: worth it for the last tokens
typedef float vf_half __attribute__((vector_size(2 * W)));
typedef int32_t vi_half __attribute__((vector_size(2 * W)));
typedef int32_t vi_half_at __attribute__((vector_size(2 * W), aligned(4), may_alias));
#endif

// loops over a tile, written out by the compiler
#define EACH_ROW(step) _Pragma("GCC unroll 8") for (int r = 0; r < ROWS; r += step)
#define EACH_VECTOR _Pragma("GCC unroll 8") for (int v = 0; v < V; ++v)

#define LANES_INLINE static inline __attribute__((always_inline))

LANES_INLINE vf load(const float* p) { return *reinterpret_cast<const vf_at*>(p); }
LANES_INLINE vi load(const uint32_t* p) { return *reinterpret_cast<const vi_at*>(p); }
LANES_INLINE void store(float* p, vf x) { *reinterpret_cast<vf_at*>(p) = x; }
LANES_INLINE vf spread(float x) { return x - vf{}; }
constexpr int round_up(int n, int step) { return (n + step - 1) / step * step; }

LANES_INLINE vf larger(vf a, vf b) {
#if defined(__AVX512F__)
  return (vf)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
  return (vf)_mm256_max_ps((__m256)a, (__m256)b);
#else
  return a > b ? a : b;
#endif
}

// 1 / sqrt(x), exact to rounding
LANES_INLINE vf inverse_root(vf x) {
#if defined(__AVX512F__)
  return 1.0f / (vf)_mm512_sqrt_ps((__m512)x);
#elif defined(__AVX2__)
  return 1.0f / (vf)_mm256_sqrt_ps((__m256)x);
#else
  for (int i = 0; i < W; ++i) x[i] = __builtin_sqrtf(x[i]);
  return 1.0f / x;
#endif
}

LANES_INLINE float largest(vf x) {
  float top = x[0];
  for (int i = 1; i < W; ++i) top = x[i] > top ? x[i] : top;
  return top;
}

// 2^x for x <= 0, by a polynomial on [-1/2, 1/2]: 2e-7 off, or 1e-4 where the result becomes bf16 anyway
template <bool ROUGH>
LANES_INLINE vf power_of_two(vf x) {
#if defined(__AVX512F__)
  const vf n = (vf)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
  x = larger(x, spread(-126.0f));
  const vf shifted = x + 12582912.0f;  // 1.5 * 2^23: the sum has no room for fractions
  const vf n = shifted - 12582912.0f;
#endif
  const vf f = x - n;
  vf p;
  if (ROUGH) {
    p = f * 0.05592203f + 0.24264008f;
    p = p * f + 0.69313675f;
    p = p * f + 0.99992520f;
  } else {
    p = f * 0.00133335581f + 0.00961812911f;
    p = p * f + 0.0555041087f;
    p = p * f + 0.240226507f;
    p = p * f + 0.693147181f;
    p = p * f + 1.0f;
  }
#if defined(__AVX512F__)
  return (vf)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
  return (vf)((vi)p + ((vi)shifted << 23));
#endif
}

// Numbers of a product. PAIR rows of [row][lane] share one word.
struct Float32 {
  static constexpr int PAIR = 1;
  static constexpr bool ROUGH = false;
  LANES_INLINE vf multiply_add(vf sum, uint32_t left, vi right) {
    float x;
    std::memcpy(&x, &left, sizeof x);
    return x * (vf)right + sum;
  }
#if defined(LANES_HALVES)
  LANES_INLINE vf_half multiply_add(vf_half sum, vi left, vi_half right) {
    return (vf_half)_mm512_castps512_ps256((__m512)left) * (vf_half)right + sum;
  }
  LANES_INLINE vf multiply_add(vf sum, vi left, vi right) { return (vf)left * (vf)right + sum; }
#endif
  // two rows of a right side (or of a left side whose rows are lanes); `out` is where row 0 goes
  LANES_INLINE void store_rows(uint32_t* out, ptrdiff_t ld, vf even, vf odd) {
    store(reinterpret_cast<float*>(out), even);
    store(reinterpret_cast<float*>(out) + ld, odd);
  }
  // one row of a left side that is summed over its lanes: `out` is the row, `lane` a multiple of W
  LANES_INLINE void store_lanes(uint32_t* out, int lane, vf x) {
    store(reinterpret_cast<float*>(out) + lane, x);
  }
};

#if defined(__AVX512BF16__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#define LANES_BFLOAT16 1
struct Bfloat16 {
  static constexpr int PAIR = 2;
  static constexpr bool ROUGH = true;
  LANES_INLINE vf multiply_add(vf sum, uint32_t left, vi right) {
    return (vf)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32((int)left),
                                (__m512bh)(__m512i)right);
  }
  LANES_INLINE vf multiply_add(vf sum, vi left, vi right) {
    return (vf)_mm512_dpbf16_ps((__m512)sum, (__m512bh)(__m512i)left, (__m512bh)(__m512i)right);
  }
  LANES_INLINE vf_half multiply_add(vf_half sum, vi left, vi_half right) {
    return (vf_half)_mm256_dpbf16_ps((__m256)sum, (__m256bh)_mm512_castsi512_si256((__m512i)left),
                                     (__m256bh)(__m256i)right);
  }
  LANES_INLINE void store_rows(uint32_t* out, ptrdiff_t, vf even, vf odd) {
    alignas(64) static constexpr int16_t ORDER[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                      21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                      11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    const __m512i both = (__m512i)_mm512_cvtne2ps_pbh((__m512)odd, (__m512)even);
    _mm512_storeu_si512(out, _mm512_permutexvar_epi16(_mm512_load_si512(ORDER), both));
  }
  LANES_INLINE void store_lanes(uint32_t* out, int lane, vf x) {
    _mm256_storeu_si256((__m256i*)(reinterpret_cast<uint16_t*>(out) + lane),
                        (__m256i)_mm512_cvtneps_pbh((__m512)x));
  }
};
#endif

// Left sides: the word of row r and step k is at data[r * row + k * step].
struct Columns {  // words of one step side by side
  const uint32_t* data;
  ptrdiff_t step;
  static constexpr ptrdiff_t row = 1;
};
struct Rows {  // words of one row side by side
  const uint32_t* data;
  ptrdiff_t row;
  static constexpr ptrdiff_t step = 1;
};

struct Left {  // any order; the two above leave the compiler more registers
  const uint32_t* data;
  ptrdiff_t row, step;
};

// rows x V vectors of left * right over `steps` words; `done(r, sums)` gets each tile of ROWS rows.
// The left side must be readable up to the next multiple of ROWS; what lies there reaches `done` too.
// With HALF only the first half of the last vector is multiplied, and the rest is 0.
// A call of its own for each product: inlined into one long function, the sums no longer fit the registers.
template <class Number, int V, bool HALF = false, int ROWS = lanes::ROWS, class Left, class Done>
__attribute__((noinline)) void multiply(int rows, int steps, Left left, const uint32_t* right,
                                        ptrdiff_t ld, const Done& done) {
#if defined(LANES_HALVES)
  constexpr int WHOLE = V - HALF;
#else
  constexpr int WHOLE = V;
#endif
  for (int r0 = 0; r0 < rows; r0 += ROWS) {
    vf sums[ROWS][V];
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < WHOLE; ++v) sums[r][v] = vf{};
#if defined(LANES_HALVES)
    vf_half half[ROWS];
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) half[r] = vf_half{};
#endif
    const uint32_t* a = left.data + r0 * left.row;
    const uint32_t* b = right;
    for (int k = 0; k < steps; ++k, a += left.step, b += ld) {
      vi column[V];
#pragma GCC unroll 8
      for (int v = 0; v < WHOLE; ++v) column[v] = load(b + v * W);

#if defined(LANES_HALVES)
      if constexpr (HALF) {
        const vi_half end = *reinterpret_cast<const vi_half_at*>(b + WHOLE * W);
        EACH_ROW(1) {
          const vi word = (vi)_mm512_set1_epi32(a[r * left.row]);
#pragma GCC unroll 8
          for (int v = 0; v < WHOLE; ++v)
            sums[r][v] = Number::multiply_add(sums[r][v], word, column[v]);
          half[r] = Number::multiply_add(half[r], word, end);
        }
        continue;
      }
#endif
      EACH_ROW(1) EACH_VECTOR
      sums[r][v] = Number::multiply_add(sums[r][v], a[r * left.row], column[v]);
    }
#if defined(LANES_HALVES)
    if constexpr (HALF)
#pragma GCC unroll 8
      for (int r = 0; r < ROWS; ++r)
        sums[r][WHOLE] = (vf)_mm512_zextps256_ps512((__m256)half[r]);
#endif
    done(r0, sums);
  }
}

// How many vectors a block of lanes has, known to the compiler.
template <int VECTORS_OF_IT, bool HALF_OF_IT = false>
struct Block {
  static constexpr int V = VECTORS_OF_IT;
  static constexpr bool HALF = HALF_OF_IT;
};

// Calls `step(lane, Block)` for blocks that cover `used` lanes, each as wide as registers allow; without HALVES the
// last is whole, which takes half as long to compile.
template <bool HALVES = true, class Step>
LANES_INLINE void each_block(int used, const Step& step) {
  const int vectors = (used + W - 1) / W;
  int v = 0;
  const auto last = [&](auto half) {
    constexpr bool HALF = decltype(half)::HALF;
    switch (vectors - v) {
      case 4: if constexpr (VECTORS >= 4) step(v * W, Block<4, HALF>{}); break;
      case 3: if constexpr (VECTORS >= 3) step(v * W, Block<3, HALF>{}); break;
      case 2: step(v * W, Block<2, HALF>{}); break;
      case 1: step(v * W, Block<1, HALF>{}); break;
    }
  };
  for (; vectors - v > VECTORS; v += VECTORS) step(v * W, Block<VECTORS>{});
#if defined(LANES_HALVES)
  if constexpr (HALVES)
    if (used - (vectors - 1) * W <= W / 2) return last(Block<0, true>{});
#endif
  last(Block<0>{});
}

}  // namespace lanes
