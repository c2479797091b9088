// What every instruction set offers, and the forms in which weights and activations are handed to it.
#pragma once

#include <cstddef>
#include <cstdint>

constexpr int TILE_COLUMNS = 16;
// Rows that any instruction set multiplies in one pass over a tile, at most.
constexpr size_t MAX_PASS_ROWS = 16;
// Channels of an attention head, at most.
constexpr size_t MAX_HEAD_CHANNELS = 256;
// Channels of a row that is normalised, at most.
constexpr size_t MAX_NORM_DEPTH = 16384;

// A weight matrix [columns, depth], packed by tiles of 16 columns (the last one padded):
//   8 bits  [tile][depth / 4][16][4]   unsigned, 128 stands for 0
//   4 bits  [tile][depth / 8][16][4]   low nibbles for four steps of the depth, high nibbles for the next four; 8 stands for 0
//   32 bits [tile][depth][16]          float
struct Weights {
    int bits;
    size_t columns, depth;       // as the model has them
    size_t block;                // of the depth, that shares one scale; a power of two from 16 to 65,536
    size_t blocks;               // blocks * block >= depth; the rest is padding
    const uint8_t* values;
    const float* scales;         // [tile][blocks][16]; null with 32 bits

    size_t tiles() const { return (columns + TILE_COLUMNS - 1) / TILE_COLUMNS; }
    size_t padded_depth() const { return blocks * block; }
    size_t tile_bytes() const { return padded_depth() * TILE_COLUMNS * bits / 8; }
};

// Rows that are multiplied together, by passes of nearly equal size.
struct Passes {
    size_t rows;
    size_t count;

    size_t first(size_t pass) const { return pass * rows / count; }
    size_t size(size_t pass) const { return first(pass + 1) - first(pass); }
};

// Rows of activations as a product reads them. Each pass has room for MAX_PASS_ROWS; R is its size.
struct Activations {
    Passes passes;
    uint8_t* values;     // of a pass: int8 [padded_depth / 4][R][4], or float [depth][R] for 32 bits
    float* scales;       // of a pass: [blocks][R]
    int32_t* offsets;    // of a pass: [blocks][R]: what takes the zero point of the weights off

    uint8_t* pass_values(const Weights& weights, size_t pass) const {
        return values + pass * MAX_PASS_ROWS * weights.padded_depth() * (weights.bits == 32 ? sizeof(float) : 1);
    }
    float* pass_scales(const Weights& weights, size_t pass) const { return scales + pass * MAX_PASS_ROWS * weights.blocks; }
    int32_t* pass_offsets(const Weights& weights, size_t pass) const { return offsets + pass * MAX_PASS_ROWS * weights.blocks; }
};

// What happens to a finished product.
struct Epilogue {
    const float* bias;       // [columns], or null
    const float* residual;   // [rows, columns], or null
    bool gelu;
};

// Layer normalisation of the rows before a product.
struct Norm {
    const float* scale;      // [depth]; null leaves the rows as they are
    const float* shift;
    float epsilon;
};

// One decoder step of attention. A query row reads keys and values of its request only.
struct Attention {
    size_t heads, channels;          // of a head
    size_t slots;                    // of a request in the buffers
    float scale;
    const float* query;              // row r begins at query + r * query_stride
    size_t query_stride;
    const float* keys;               // [request, head, slot, channel]
    const float* values;
    const int32_t* read;             // slots that row r reads, ascending: read[starts[r]] .. read[starts[r + 1]]
    const size_t* starts;
    float* output;                   // [row, head, channel]
};

struct Kernels {
    const char* name;         // what the attribute of a node calls it
    const char* title;        // what people call it
    bool (*supported)();
    // Rows of one pass at most, when `rows` are multiplied by weights of so many bits.
    size_t (*pass_rows)(int bits, size_t rows);

    // Normalise, quantise and lay out rows [begin, end) of `rows` [row, depth].
    void (*prepare)(const Weights&, const Norm&, const float* rows, size_t begin, size_t end, const Activations&);
    // Multiply all rows by the tiles [begin, end) into `output` [row, columns].
    void (*multiply)(const Weights&, const Activations&, const Epilogue&, size_t begin, size_t end, float* output);
    // Attention of the rows [begin, end), which belong to `request`, for one head. `scratch` holds as many floats as
    // one of them reads slots, rounded up to 16.
    void (*attend)(const Attention&, size_t request, size_t head, size_t begin, size_t end, float* scratch);
};
