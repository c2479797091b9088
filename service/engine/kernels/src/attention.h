// Attention of the rows of one request in one head over keys and values in the cache.
#pragma once

#include "functions.h"
#include "kernels.h"
#include "lanes.h"

namespace {

// Scores of one query with each key that it reads, their greatest too.
template <class Isa>
float score(const Attention& attention, const float* query, const float* keys, const int32_t* read, size_t count, float* scores) {
    using F = Floats<Isa>;
    const size_t channels = attention.channels;
    float peak = -INFINITY;
    for (size_t i = 0; i < count; ++i) {
        const float* key = keys + read[i] * channels;
        F sums = F::all(0.0f);
        for (size_t c = 0; c < channels; c += LANES)
            sums = F::load(query + c, channels - c).times_plus(F::load(key + c, channels - c), sums);
        scores[i] = sums.sum() * attention.scale;
        peak = scores[i] > peak ? scores[i] : peak;
    }
    return peak;
}

// See `Kernels::attend`.
template <class Isa>
void attend_rows(const Attention& attention, size_t request, size_t head, size_t begin, size_t end, float* scratch) {
    using F = Floats<Isa>;
    const size_t channels = attention.channels;
    const size_t base = (request * attention.heads + head) * attention.slots * channels;
    const float* keys = attention.keys + base;
    const float* values = attention.values + base;
    for (size_t row = begin; row < end; ++row) {
        const int32_t* read = attention.read + attention.starts[row];
        const size_t count = attention.starts[row + 1] - attention.starts[row];
        const float* query = attention.query + row * attention.query_stride + head * channels;
        const float peak = score<Isa>(attention, query, keys, read, count, scratch);
        F totals = F::all(0.0f);
        for (size_t i = 0; i < count; i += LANES) {
            float lane[LANES] = {};
            exponential<Isa>(F::load(scratch + i, count - i) - F::all(peak)).store(lane, count - i);
            totals = totals + F::load(lane);
            F::load(lane).store(scratch + i, count - i);
        }
        const F inverse = F::all(1.0f / totals.sum());
        float* output = attention.output + (row * attention.heads + head) * channels;
        for (size_t c = 0; c < channels; c += LANES) {
            F sums = F::all(0.0f);
            for (size_t i = 0; i < count; ++i)
                sums = F::load(values + read[i] * channels + c, channels - c).times_plus(F::all(scratch[i]), sums);
            (sums * inverse).store(output + c, channels - c);
        }
    }
}

}  // namespace
