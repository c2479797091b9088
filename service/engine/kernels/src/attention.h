// Attention of the rows of one request in one head over keys and values in the cache.
#pragma once

#include "functions.h"
#include "kernels.h"
#include "lanes.h"

namespace {

// Channels from chunk `c` on.
ALWAYS_INLINE size_t left(size_t channels, size_t c) { return channels > c * LANES ? channels - c * LANES : 0; }

// Scores of one query with each key that it reads, and the greatest of them.
template <class Isa, int CHUNKS>
ALWAYS_INLINE float score(const Attention& attention, const float* query, const float* keys, const int32_t* read, size_t count, float* scores) {
    using F = Floats<Isa>;
    F held[CHUNKS];
    for (int c = 0; c < CHUNKS; ++c) held[c] = F::load(query + c * LANES, left(attention.channels, c));
    float peak = -INFINITY;
    for (size_t i = 0; i < count; ++i) {
        const float* key = keys + read[i] * attention.channels;
        F sums = F::all(0.0f);
        for (int c = 0; c < CHUNKS; ++c) sums = held[c].times_plus(F::load(key + c * LANES, left(attention.channels, c)), sums);
        scores[i] = sums.sum() * attention.scale;
        peak = scores[i] > peak ? scores[i] : peak;
    }
    return peak;
}

// Scores to weights that are not divided by their sum yet, which is returned.
template <class Isa>
ALWAYS_INLINE float weigh(size_t count, float peak, float* scores) {
    using F = Floats<Isa>;
    F totals = F::all(0.0f);
    for (size_t i = 0; i < count; i += LANES) {
        float lane[LANES] = {};
        exponential<Isa>(F::load(scores + i, count - i) - F::all(peak)).store(lane, count - i);
        totals = totals + F::load(lane);
        F::load(lane).store(scores + i, count - i);
    }
    return totals.sum();
}

template <class Isa, int CHUNKS>
void attend_chunks(const Attention& attention, size_t request, size_t head, size_t begin, size_t end, float* scratch) {
    using F = Floats<Isa>;
    const size_t channels = attention.channels;
    const size_t base = (request * attention.heads + head) * attention.slots * channels;
    const float* keys = attention.keys + base;
    const float* values = attention.values + base;
    for (size_t row = begin; row < end; ++row) {
        const int32_t* read = attention.read + attention.starts[row];
        const size_t count = attention.starts[row + 1] - attention.starts[row];
        const float* query = attention.query + row * attention.query_stride + head * channels;
        const float peak = score<Isa, CHUNKS>(attention, query, keys, read, count, scratch);
        const F inverse = F::all(1.0f / weigh<Isa>(count, peak, scratch));
        F sums[CHUNKS];
        for (int c = 0; c < CHUNKS; ++c) sums[c] = F::all(0.0f);
        for (size_t i = 0; i < count; ++i) {
            const float* value = values + read[i] * channels;
            const F weight = F::all(scratch[i]);
            for (int c = 0; c < CHUNKS; ++c) sums[c] = F::load(value + c * LANES, left(channels, c)).times_plus(weight, sums[c]);
        }
        float* output = attention.output + (row * attention.heads + head) * channels;
        for (int c = 0; c < CHUNKS; ++c) (sums[c] * inverse).store(output + c * LANES, left(channels, c));
    }
}

// See `Kernels::attend`. Heads are held in registers, as sixteens of channels: 3 of them in the models of 400M, 5 in those
// of 1B and 3B.
template <class Isa>
void attend_rows(const Attention& attention, size_t request, size_t head, size_t begin, size_t end, float* scratch) {
    const size_t chunks = (attention.channels + LANES - 1) / LANES;
    const auto kernel = chunks <= 1   ? attend_chunks<Isa, 1>
                        : chunks <= 2 ? attend_chunks<Isa, 2>
                        : chunks <= 3 ? attend_chunks<Isa, 3>
                        : chunks <= 5 ? attend_chunks<Isa, 5>
                        : chunks <= 8 ? attend_chunks<Isa, 8>
                                      : attend_chunks<Isa, MAX_HEAD_CHANNELS / LANES>;
    kernel(attention, request, head, begin, end, scratch);
}

}  // namespace
