// Rows of activations made ready for a product: normalised, quantised block by block, and laid out by passes.
#pragma once

#include <cmath>

#include "kernels.h"
#include "lanes.h"

namespace {

// Layer normalisation of one row into `to`, by mean and variance in one fixed order of sums.
template <class Isa>
void normalize_row(const Norm& norm, const float* row, size_t depth, float* to) {
    using F = Floats<Isa>;
    F sums = F::all(0.0f);
    for (size_t k = 0; k < depth; k += LANES) sums = sums + F::load(row + k, depth - k);
    const float mean = sums.sum() / depth;
    F squares = F::all(0.0f);
    for (size_t k = 0; k < depth; k += LANES) {
        const F centred = F::load(row + k, depth - k) - F::all(mean);
        if (depth - k >= LANES) {
            squares = centred.times_plus(centred, squares);
        } else {
            float lane[LANES] = {};
            centred.store(lane, depth - k);
            squares = F::load(lane).times_plus(F::load(lane), squares);
        }
    }
    const F inverse = F::all(1.0f / std::sqrt(squares.sum() / depth + norm.epsilon));
    for (size_t k = 0; k < depth; k += LANES) {
        const size_t count = depth - k;
        const F centred = F::load(row + k, count) - F::all(mean);
        const F scaled = centred * inverse;
        scaled.times_plus(F::load(norm.scale + k, count), F::load(norm.shift + k, count)).store(to + k, count);
    }
}

// One row to int8, a scale a block. A block that holds a NaN or an infinity gets the scale NaN, so that the products of
// its row are NaN; one whose values are all below 1e-36 counts as zeros.
// `put(k, lane)` gets the values of sixteen steps of the depth after the other.
template <class Isa, class Put>
ALWAYS_INLINE void quantize_row(const Weights& weights, const float* row, size_t r, size_t in_pass, float* scales, int32_t* offsets, const Put& put) {
    using F = Floats<Isa>;
    using I = Ints<Isa>;
    const int32_t zero_point = weights.bits == 8 ? Isa::ZERO_POINT_8 : Isa::ZERO_POINT_4;
    const size_t block = weights.block;
    for (size_t b = 0; b < weights.blocks; ++b) {
        const size_t begin = b * block;
        const size_t held = weights.depth - begin < block ? weights.depth - begin : block;
        const float* from = row + begin;
        I largest = I::all(0);
        for (size_t k = 0; k < held; k += LANES)
            largest = largest.max(F::load(from + k, held - k).as_int() & I::all(0x7fffffff));
        const int32_t bits = largest.largest();
        float peak;
        std::memcpy(&peak, &bits, sizeof peak);
        const bool finite = bits < 0x7f800000;
        const F inverse = F::all(finite && peak > 1e-36f ? 127.0f / peak : 0.0f);
        I sums = I::all(0);
        for (size_t k = 0; k < block; k += LANES) {
            I whole = I::all(0);
            if (finite && k < held) whole = (F::load(from + k, held - k) * inverse).rounded();
            sums = sums + whole;
            int32_t wide[LANES];
            whole.store(wide);
            int8_t lane[LANES];
            for (int i = 0; i < LANES; ++i) lane[i] = static_cast<int8_t>(wide[i]);
            put(begin + k, lane);
        }
        scales[b * in_pass + r] = finite ? peak / 127.0f : std::nanf("");
        offsets[b * in_pass + r] = -zero_point * sums.sum();
    }
}

// See `Kernels::prepare`.
template <class Isa>
void prepare_rows(const Weights& weights, const Norm& norm, const float* rows, size_t begin, size_t end, const Activations& to) {
    const size_t depth = weights.depth;
    const Passes& passes = to.passes;
    float normalized[MAX_NORM_DEPTH];
    for (size_t pass = 0; pass < passes.count; ++pass) {
        const size_t first = passes.first(pass), size = passes.size(pass);
        for (size_t row = first > begin ? first : begin; row < first + size && row < end; ++row) {
            const float* from = rows + row * depth;
            if (norm.scale) {
                normalize_row<Isa>(norm, from, depth, normalized);
                from = normalized;
            }
            if (weights.bits == 32) {
                float* values = reinterpret_cast<float*>(to.pass_values(weights, pass));
                for (size_t k = 0; k < depth; ++k) values[k * size + row - first] = from[k];
            } else {
                auto* const values = reinterpret_cast<int8_t*>(to.pass_values(weights, pass)) + (row - first) * 4;
                const bool wide = Isa::WIDE_ACTIVATIONS && weights.bits == 8;
                quantize_row<Isa>(weights, from, row - first, size, to.pass_scales(weights, pass), to.pass_offsets(weights, pass),
                                  [&](size_t k, const int8_t (&lane)[LANES]) {
                                      for (int i = 0; i < LANES; i += 4) {
                                          if (wide) {
                                              const int16_t even[] = {lane[i], lane[i + 2]}, odd[] = {lane[i + 1], lane[i + 3]};
                                              std::memcpy(values + (k + i) * 2 * size, even, 4);
                                              std::memcpy(values + ((k + i) * 2 + 4) * size, odd, 4);
                                          } else {
                                              std::memcpy(values + (k + i) * size, lane + i, 4);
                                          }
                                      }
                                  });
            }
        }
    }
}

}  // namespace
