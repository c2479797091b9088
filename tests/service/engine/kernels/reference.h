// The same arithmetic, one number after the other.
#pragma once

#include <cmath>
#include <vector>

struct Quantised {
    std::vector<int> values;     // [padded depth]
    std::vector<float> scales;   // [blocks]
};

inline Quantised quantise(const float* row, size_t depth, size_t block) {
    Quantised result;
    for (size_t begin = 0; begin < depth; begin += block) {
        float peak = 0.0f;
        bool finite = true;
        for (size_t k = begin; k < begin + block && k < depth; ++k) {
            finite &= std::isfinite(row[k]);
            peak = std::max(peak, std::fabs(row[k]));
        }
        const float inverse = peak > 1e-36f ? 127.0f / peak : 0.0f;
        for (size_t k = begin; k < begin + block; ++k)
            result.values.push_back(finite && k < depth ? static_cast<int>(std::nearbyint(row[k] * inverse)) : 0);
        result.scales.push_back(finite ? peak / 127.0f : std::nanf(""));
    }
    return result;
}

// `weights` [columns, padded depth], 0 for a weight of 0; `scales` [columns, blocks]; the product of one row [columns].
inline std::vector<float> product(const Quantised& row, const std::vector<int>& weights, const std::vector<float>& scales, size_t columns, size_t block) {
    const size_t blocks = row.scales.size(), depth = row.values.size();
    std::vector<float> result(columns);
    for (size_t column = 0; column < columns; ++column) {
        for (size_t b = 0; b < blocks; ++b) {
            int64_t sum = 0;
            for (size_t k = b * block; k < (b + 1) * block; ++k) sum += row.values[k] * weights[column * depth + k];
            result[column] = std::fma(static_cast<float>(sum), scales[column * blocks + b] * row.scales[b], result[column]);
        }
    }
    return result;
}

inline double exact_gelu(double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); }

// Layer normalisation of a row, in double precision.
inline std::vector<double> normalise(const float* row, size_t depth, const float* scale, const float* shift, double epsilon) {
    double mean = 0, variance = 0;
    for (size_t k = 0; k < depth; ++k) mean += row[k] / static_cast<double>(depth);
    for (size_t k = 0; k < depth; ++k) variance += (row[k] - mean) * (row[k] - mean) / static_cast<double>(depth);
    std::vector<double> result;
    for (size_t k = 0; k < depth; ++k) result.push_back((row[k] - mean) / std::sqrt(variance + epsilon) * scale[k] + shift[k]);
    return result;
}
