#include "attention_nodes.h"

#include <algorithm>
#include <cstring>

#include "instruction_sets.h"
#include "memory.h"

namespace {

constexpr size_t CHUNKS = 16;

// [request, head, slot, channel]
struct CacheShape {
    explicit CacheShape(const Tensor& tensor, size_t heads) {
        require(tensor.shape.size() == 4 && static_cast<size_t>(tensor.shape[1]) == heads, "keys and values must be [request, head, slot, channel]");
        requests = tensor.shape[0];
        slots = tensor.shape[2];
        channels = tensor.shape[3];
        require(channels <= MAX_HEAD_CHANNELS, "a head may have 256 channels at most");
    }

    size_t requests, slots, channels;
};

// The request of each row, and the slot that it writes, from places [row, head, 3].
struct Places {
    Places(const Tensor& tensor, const CacheShape& cache, size_t heads, size_t rows) : places(tensor.longs()), stride(3 * heads) {
        require(tensor.shape.size() == 3 && tensor.size() == rows * stride, "places must be [row, head, 3]");
        for (size_t row = 0; row < rows; ++row) {
            require(request(row) < cache.requests && slot(row) < cache.slots, "a row's place is outside the cache");
            require(row == 0 || request(row - 1) <= request(row), "the rows of a request must stand together");
        }
    }

    size_t request(size_t row) const { return static_cast<size_t>(places[row * stride]); }
    size_t slot(size_t row) const { return static_cast<size_t>(places[row * stride + 2]); }

    const int64_t* places;
    size_t stride;
};

// The slots that rows read: those of row r stand from starts[r] to starts[r + 1].
struct Reads {
    template <class Included>
    void add_row(size_t slot_count, const Included& included) {
        for (size_t slot = 0; slot < slot_count; ++slot)
            if (included(slot)) slots.push_back(static_cast<int32_t>(slot));
        starts.push_back(slots.size());
    }

    std::vector<int32_t> slots;
    std::vector<size_t> starts{0};
};

// Attention to a cache; queries and output are still to be set.
Attention attention_to(const float* keys, const float* values, const CacheShape& cache, size_t heads, float scale) {
    Attention attention{};
    attention.keys = keys;
    attention.values = values;
    attention.heads = heads;
    attention.channels = cache.channels;
    attention.slots = cache.slots;
    attention.scale = scale;
    return attention;
}

// Attention of all rows, by requests and heads. `before(request, head, begin, end)` runs first for the rows of each.
template <class Before>
void attend(const Call& call, const Kernels& kernels, Attention attention, const Places& places, size_t rows, const Reads& reads, const Before& before) {
    const std::vector<size_t>& starts = reads.starts;
    attention.read = reads.slots.data();
    attention.starts = starts.data();
    std::vector<size_t> first;
    for (size_t row = 0; row < rows; ++row)
        if (row == 0 || places.request(row) != places.request(row - 1)) first.push_back(row);
    const size_t tasks = first.size() * attention.heads;
    first.push_back(rows);
    size_t longest = 0;
    for (size_t row = 0; row < rows; ++row) longest = std::max(longest, starts[row + 1] - starts[row]);
    longest = (longest + 15) / 16 * 16;
    float* const scratch = reinterpret_cast<float*>(scratch_memory(CHUNKS * longest * sizeof(float)));
    const size_t chunks = std::min(tasks, CHUNKS);
    call.parallel(chunks, [&](size_t chunk) {
        for (size_t task = chunk * tasks / chunks; task < (chunk + 1) * tasks / chunks; ++task) {
            const size_t group = task / attention.heads, head = task % attention.heads;
            const size_t begin = first[group], end = first[group + 1];
            before(places.request(begin), head, begin, end);
            kernels.attend(attention, places.request(begin), head, begin, end, scratch + chunk * longest);
        }
    });
}

size_t stride_of(const Tensor& tensor, size_t rows, size_t needed) {
    const size_t stride = rows ? tensor.size() / rows : 0;
    require(stride * rows == tensor.size() && stride >= needed, "query, key or value is too narrow");
    return stride;
}

size_t count(const NodeInfo& info, const char* name) {
    const int64_t value = info.integer(name);
    require(value >= 0 && value < (int64_t{1} << 31), "an attribute is out of range");
    return static_cast<size_t>(value);
}

}  // namespace

SelfAttention::SelfAttention(const NodeInfo& info)
    : kernels_(kernels(info.text("kernels"))), heads_(count(info, "num_heads")), query_offset_(count(info, "query_offset")),
      key_offset_(count(info, "key_offset")), value_offset_(count(info, "value_offset")), scale_(info.number("scale")) {
    require(heads_ > 0, "num_heads must be positive");
}

void SelfAttention::compute(const Call& call) const {
    const Tensor query = call.input(0, FLOAT), key = call.input(1, FLOAT), value = call.input(2, FLOAT);
    const Tensor past_key = call.input(3, FLOAT), past_value = call.input(4, FLOAT), written = call.input(5, INT64);
    const Tensor bias = call.input(6, FLOAT), cells = call.input(7, INT64);
    const CacheShape cache(past_key, heads_);
    require(past_value.shape == past_key.shape, "keys and values must have one shape");
    const size_t rows = static_cast<size_t>(query.shape.front()), width = heads_ * cache.channels;
    const Places places(written, cache, heads_, rows);
    const size_t query_stride = stride_of(query, rows, query_offset_ + width);
    const size_t key_stride = stride_of(key, rows, key_offset_ + width), value_stride = stride_of(value, rows, value_offset_ + width);
    require(cells.size() == rows && bias.shape.size() == 4 && static_cast<size_t>(bias.shape[3]) == cache.slots, "bias must be [request, 1, beam, slot], row_cells [row]");

    float* const output = call.output(0, {query.shape[0], 1, static_cast<int64_t>(width)});
    float* const present_key = call.output(1, past_key.shape);
    float* const present_value = call.output(2, past_value.shape);
    if (present_key != past_key.data) std::memcpy(present_key, past_key.data, past_key.size() * sizeof(float));
    if (present_value != past_value.data) std::memcpy(present_value, past_value.data, past_value.size() * sizeof(float));

    Reads reads;
    for (size_t row = 0; row < rows; ++row) {
        const size_t cell = static_cast<size_t>(cells.longs()[row]);
        require(cell < bias.size() / cache.slots, "a row's cell is outside the grid");
        const float* const line = bias.floats() + cell * cache.slots;
        reads.add_row(cache.slots, [&](size_t slot) { return line[slot] >= 0.0f; });
    }
    Attention attention = attention_to(present_key, present_value, cache, heads_, scale_);
    attention.query = query.floats() + query_offset_;
    attention.query_stride = query_stride;
    attention.output = output;
    attend(call, kernels_, attention, places, rows, reads, [&](size_t request, size_t head, size_t begin, size_t end) {
        for (size_t row = begin; row < end; ++row) {
            const size_t at = ((request * heads_ + head) * cache.slots + places.slot(row)) * cache.channels;
            const size_t bytes = cache.channels * sizeof(float), from = head * cache.channels;
            std::memcpy(present_key + at, key.floats() + row * key_stride + key_offset_ + from, bytes);
            std::memcpy(present_value + at, value.floats() + row * value_stride + value_offset_ + from, bytes);
        }
    });
}

CrossAttention::CrossAttention(const NodeInfo& info)
    : kernels_(kernels(info.text("kernels"))), heads_(count(info, "num_heads")), scale_(info.number("scale")) {
    require(heads_ > 0, "num_heads must be positive");
}

void CrossAttention::compute(const Call& call) const {
    const Tensor query = call.input(0, FLOAT), key = call.input(1, FLOAT), value = call.input(2, FLOAT);
    const Tensor mask = call.input(3, INT32), written = call.input(4, INT64);
    const CacheShape cache(key, heads_);
    require(value.shape == key.shape, "keys and values must have one shape");
    const size_t rows = static_cast<size_t>(query.shape.front()), width = heads_ * cache.channels;
    require(mask.size() == cache.requests * cache.slots, "the mask must be [request, source]");
    require(written.shape.size() == 3 && written.size() == rows * heads_ * 3, "places must be [row, head, 3]");

    Reads reads;
    CacheShape anywhere = cache;
    anywhere.slots = SIZE_MAX;  // the slot that a row writes is of another cache
    const Places places(written, anywhere, heads_, rows);
    for (size_t row = 0; row < rows; ++row) {
        const int32_t* const line = mask.ints() + places.request(row) * cache.slots;
        reads.add_row(cache.slots, [&](size_t slot) { return line[slot] != 0; });
    }
    Attention attention = attention_to(key.floats(), value.floats(), cache, heads_, scale_);
    attention.query = query.floats();
    attention.query_stride = stride_of(query, rows, width);
    attention.output = call.output(0, {query.shape[0], 1, static_cast<int64_t>(width)});
    attend(call, kernels_, attention, places, rows, reads, [](size_t, size_t, size_t, size_t) {});
}
