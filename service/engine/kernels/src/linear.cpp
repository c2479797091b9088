#include "linear.h"

#include <algorithm>

#include "instruction_sets.h"
#include "memory.h"
#include "packing.h"

namespace {

enum Input { X, WEIGHT, SCALES, BIAS, NORM_SCALE, NORM_SHIFT, RESIDUAL };

// Work that is not worth a second thread.
constexpr size_t ALONE = 1 << 15;
constexpr size_t CHUNKS = 16;

size_t positive(int64_t value, const char* words) {
    require(value > 0 && value < (int64_t{1} << 31), words);
    return static_cast<size_t>(value);
}

bool is_vector(const Tensor& tensor, size_t length) { return !tensor || (tensor.type == FLOAT && tensor.size() == length); }

}  // namespace

Linear::Linear(const NodeInfo& info) : kernels_(kernels(info.text("kernels"))), weights_{} {
    weights_.bits = static_cast<int>(info.integer("bits"));
    weights_.depth = positive(info.integer("K"), "K must be positive");
    weights_.columns = positive(info.integer("N"), "N must be positive");
    gelu_ = info.integer("gelu") != 0;
    epsilon_ = info.number("epsilon");
    const Tensor values = info.constant(WEIGHT);
    require(values.data, "the weights must be constant");
    require(is_vector(info.constant(BIAS), weights_.columns), "the bias must have N values");
    require(is_vector(info.constant(NORM_SCALE), weights_.depth) && is_vector(info.constant(NORM_SHIFT), weights_.depth), "the norm must have K values");
    if (weights_.bits == 32) {
        weights_.block = weights_.depth;
        weights_.blocks = 1;
        require(values.type == FLOAT && values.size() == weights_.depth * weights_.columns, "the weights must be float [K, N]");
        packed_ = weight_memory(weights_.tiles() * weights_.tile_bytes());
        pack_floats(weights_, static_cast<const float*>(values.data), reinterpret_cast<float*>(packed_.get()));
    } else {
        require(weights_.bits == 4 || weights_.bits == 8, "bits must be 4, 8 or 32");
        weights_.block = positive(info.integer("block_size"), "block_size must be positive");
        require(weights_.block >= 16 && weights_.block <= 65536 && !(weights_.block & (weights_.block - 1)), "block_size must be a power of two from 16 to 65,536");
        weights_.blocks = (weights_.depth + weights_.block - 1) / weights_.block;
        const Tensor scales = info.constant(SCALES);
        require(values.type == UINT8 && values.size() == weights_.columns * weights_.padded_depth() * weights_.bits / 8,
                "the weights must be uint8 [N, blocks, block_size * bits / 8]");
        require(scales.type == FLOAT && scales.size() == weights_.columns * weights_.blocks, "the scales must be float [N, blocks]");
        packed_ = weight_memory(weights_.tiles() * weights_.tile_bytes());
        packed_scales_ = weight_memory(weights_.tiles() * weights_.blocks * TILE_COLUMNS * sizeof(float));
        weights_.scales = reinterpret_cast<float*>(packed_scales_.get());
        pack(weights_, static_cast<const uint8_t*>(values.data), scales.floats(), packed_.get(), reinterpret_cast<float*>(packed_scales_.get()));
    }
    give_back(values.data, weights_.columns * weights_.padded_depth() * weights_.bits / 8);
    weights_.values = packed_.get();
}

void Linear::compute(const Call& call) const {
    Tensor x = call.input(X, FLOAT);
    require(static_cast<size_t>(x.shape.back()) == weights_.depth, "x must have K channels");
    const Tensor bias = call.optional_input(BIAS, FLOAT), residual = call.optional_input(RESIDUAL, FLOAT);
    const Tensor norm_scale = call.optional_input(NORM_SCALE, FLOAT), norm_shift = call.optional_input(NORM_SHIFT, FLOAT);
    const size_t rows = x.size() / weights_.depth;
    require(is_vector(bias, weights_.columns) && is_vector(residual, rows * weights_.columns), "bias or residual has another size");
    require(is_vector(norm_scale, weights_.depth) && is_vector(norm_shift, weights_.depth), "the norm must have K values");
    require(!norm_scale == !norm_shift && (!norm_scale || weights_.depth <= MAX_NORM_DEPTH), "the norm needs scale and shift, of 16,384 channels at most");
    x.shape.back() = static_cast<int64_t>(weights_.columns);
    float* const output = call.output(0, x.shape);
    if (rows == 0) return;

    const size_t most = kernels_.pass_rows(weights_.bits, rows);
    const Passes passes{rows, (rows + most - 1) / most};
    const size_t places = passes.count * MAX_PASS_ROWS;
    const size_t value_bytes = places * weights_.padded_depth() * (weights_.bits == 32 ? sizeof(float) : 1);
    const size_t scale_bytes = places * weights_.blocks * sizeof(float);
    uint8_t* const scratch = scratch_memory(value_bytes + 2 * scale_bytes);
    const Activations activations{passes, scratch, reinterpret_cast<float*>(scratch + value_bytes),
                                  reinterpret_cast<int32_t*>(scratch + value_bytes + scale_bytes)};
    const Norm norm{norm_scale.floats(), norm_shift.floats(), epsilon_};
    // The rows of a pass lie in the same cache lines, so that two threads would get into each other's way.
    const size_t parts = rows * weights_.depth < ALONE ? 1 : passes.count;
    call.parallel(parts, [&](size_t part) {
        const size_t begin = parts == 1 ? 0 : passes.first(part), end = parts == 1 ? rows : passes.first(part + 1);
        kernels_.prepare(weights_, norm, x.floats(), begin, end, activations);
    });
    const Epilogue epilogue{bias.floats(), residual.floats(), gelu_};
    const size_t tiles = weights_.tiles(), chunks = tiles * weights_.tile_bytes() < ALONE ? 1 : std::min(tiles, CHUNKS);
    call.parallel(chunks, [&](size_t chunk) {
        kernels_.multiply(weights_, activations, epilogue, chunk * tiles / chunks, (chunk + 1) * tiles / chunks, output);
    });
}
