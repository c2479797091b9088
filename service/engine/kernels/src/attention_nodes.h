// Attention of one decoder step over the cache. Each row reads the slots of its own hypothesis, in ascending order.
#pragma once

#include <string>

#include "kernels.h"
#include "tensors.h"

// Writes the keys and values of this step into the cache and attends.
//
// Inputs: query, key, value float [row, 1, ...], of which `heads * channels` from query_offset, key_offset and
// value_offset on are meant; past_key, past_value float [request, head, slot, channel]; places int64 [row, head, 3]:
// request, head and slot that each row writes; bias float [request, 1, beam, slot]: 0 for the slots that are read, below 0
// for others; row_cells int64 [row]: where each row stands among requests times beams.
// Outputs: attended float [row, 1, heads * channels]; present_key, present_value: the past with what was written, in
// place where both are bound to the same memory.
// Attributes: num_heads, query_offset, key_offset, value_offset, scale, kernels.
class SelfAttention {
public:
    static constexpr const char* NAME = "SelfAttention";
    static constexpr OrtElementType INPUTS[] = {FLOAT, FLOAT, FLOAT, FLOAT, FLOAT, INT64, FLOAT, INT64};
    static constexpr size_t REQUIRED_INPUTS = 8;
    static constexpr size_t OUTPUTS = 3;

    explicit SelfAttention(const NodeInfo& info);
    void compute(const Call& call) const;

private:
    const Kernels& kernels_;
    size_t heads_, query_offset_, key_offset_, value_offset_;
    float scale_;
};

// Attends to the source.
//
// Inputs: query float [row, 1, heads * channels]; key, value float [request, head, source, channel]; mask int32 [request,
// source]: 1 for the tokens of the source; places as above.
// Output: attended float [row, 1, heads * channels]. Attributes: num_heads, scale, kernels.
class CrossAttention {
public:
    static constexpr const char* NAME = "CrossAttention";
    static constexpr OrtElementType INPUTS[] = {FLOAT, FLOAT, FLOAT, INT32, INT64};
    static constexpr size_t REQUIRED_INPUTS = 5;
    static constexpr size_t OUTPUTS = 1;

    explicit CrossAttention(const NodeInfo& info);
    void compute(const Call& call) const;

private:
    const Kernels& kernels_;
    size_t heads_;
    float scale_;
};
