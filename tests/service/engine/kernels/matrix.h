// A weight matrix as a model has it, packed for the kernels, and rows multiplied by it the way the operator does.
#pragma once

#include <cstdlib>
#include <functional>
#include <memory>
#include <vector>

#include "kernels.h"
#include "packing.h"

// Memory that ends where it is said to, so that a sanitizer sees each access beyond.
template <class T>
class Buffer {
public:
    explicit Buffer(size_t count) : data_(static_cast<T*>(std::aligned_alloc(64, (count * sizeof(T) + 63) / 64 * 64))), count_(count) {
        std::fill(data_.get(), data_.get() + count, T{});
    }
    T* get() const { return data_.get(); }
    size_t size() const { return count_; }

private:
    struct Free {
        void operator()(T* data) const { std::free(data); }
    };
    std::unique_ptr<T, Free> data_;
    size_t count_;
};

class Matrix {
public:
    // `values` [columns, blocks * block * bits / 8], `scales` [columns, blocks]
    Matrix(int bits, size_t columns, size_t depth, size_t block, const std::vector<uint8_t>& values, const std::vector<float>& scales)
        : weights{bits, columns, depth, block, (depth + block - 1) / block, nullptr, nullptr},
          packed_(weights.tiles() * weights.tile_bytes()), scales_(weights.tiles() * weights.blocks * TILE_COLUMNS) {
        pack(weights, values.data(), scales.data(), packed_.get(), scales_.get());
        weights.values = packed_.get();
        weights.scales = scales_.get();
    }
    // `values` [depth, columns]
    Matrix(size_t columns, size_t depth, const std::vector<float>& values)
        : weights{32, columns, depth, depth, 1, nullptr, nullptr}, packed_(weights.tiles() * weights.tile_bytes()), scales_(0) {
        pack_floats(weights, values.data(), reinterpret_cast<float*>(packed_.get()));
        weights.values = packed_.get();
    }

    // Where [0, count) is cut for several threads: ascending, from 0 to count.
    using Cuts = std::function<std::vector<size_t>(size_t count)>;
    static std::vector<size_t> uncut(size_t count) { return {0, count}; }

    // Product of `x` [rows, depth]; the output is [rows, columns].
    std::vector<float> multiply(const Kernels& kernels, const std::vector<float>& x, const Norm& norm = {}, const Epilogue& epilogue = {},
                                const Cuts& cuts = uncut) const {
        const size_t rows = x.size() / weights.depth, most = kernels.pass_rows(weights.bits, rows);
        const Passes passes{rows, (rows + most - 1) / most};
        const size_t places = passes.count * MAX_PASS_ROWS, scales = places * weights.blocks;
        const Buffer<uint8_t> values(places * weights.padded_depth() * (weights.bits == 32 ? sizeof(float) : 1));
        const Buffer<float> row_scales(scales);
        const Buffer<int32_t> offsets(scales);
        const Activations activations{passes, values.get(), row_scales.get(), offsets.get()};
        std::vector<float> output(rows * weights.columns);
        each(cuts(rows), [&](size_t begin, size_t end) { kernels.prepare(weights, norm, x.data(), begin, end, activations); });
        each(cuts(weights.tiles()), [&](size_t begin, size_t end) {
            kernels.multiply(weights, activations, epilogue, begin, end, output.data());
        });
        return output;
    }

    Weights weights;

private:
    // The last piece first: no piece may rely on another one.
    template <class Work>
    static void each(const std::vector<size_t>& cuts, const Work& work) {
        for (size_t i = cuts.size() - 1; i > 0; --i) work(cuts[i - 1], cuts[i]);
    }

    Buffer<uint8_t> packed_;
    Buffer<float> scales_;
};
