// Weights as a model has them into the tiles that the kernels read.
#pragma once

#include "kernels.h"

// `values` [columns, blocks, block * bits / 8] and `scales` [columns, blocks] as MatMulNBits has them, 8 or 4 bits, into
// `packed` [tiles() * tile_bytes()] and `packed_scales` [tiles(), blocks, 16]. What pads the last tile stays as it is.
void pack(const Weights& weights, const uint8_t* values, const float* scales, uint8_t* packed, float* packed_scales);

// `values` [depth, columns] into `packed` [tiles(), depth, 16].
void pack_floats(const Weights& weights, const float* values, float* packed);
