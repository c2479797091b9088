// Linear: rows times a weight matrix, with what surrounds the product in a transformer.
//
//   y = gelu?(norm?(x) W^T + bias?) + residual?
//
// Inputs: x float [..., K]; W uint8 [N, blocks, block_size * bits / 8] with scales float [N, blocks], as MatMulNBits has
// them, or float [K, N]; bias float [N]; norm_scale and norm_shift float [K]; residual float [..., N].
// Attributes: K, N, bits (4, 8 or 32), block_size, gelu (0 or 1), epsilon, kernels (the name of an instruction set).
// A block of x is quantised by its greatest absolute value. A NaN or an infinity in a row of x makes that row of y NaN.
#pragma once

#include <memory>

#include "kernels.h"
#include "tensors.h"

class Linear {
public:
    static constexpr const char* NAME = "Linear";
    static constexpr OrtElementType INPUTS[] = {FLOAT, ANY, FLOAT, FLOAT, FLOAT, FLOAT, FLOAT};
    static constexpr size_t REQUIRED_INPUTS = 2;
    static constexpr size_t OUTPUTS = 1;

    explicit Linear(const NodeInfo& info);
    void compute(const Call& call) const;

private:
    const Kernels& kernels_;
    Weights weights_;
    std::shared_ptr<uint8_t> packed_, packed_scales_;
    bool gelu_;
    float epsilon_;
};
