// Inputs, outputs and attributes of a node, with ONNX Runtime's statuses turned into exceptions.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

#include "ort.h"

// Throws what a status says; null is success.
void check(const OrtApi& api, OrtStatus* status);

// A tensor that ONNX Runtime owns. Without data where an optional one is left out.
struct Tensor {
    const void* data = nullptr;
    OrtElementType type = ANY;
    std::vector<int64_t> shape;

    explicit operator bool() const { return data; }
    const float* floats() const { return static_cast<const float*>(data); }
    const int64_t* longs() const { return static_cast<const int64_t*>(data); }
    const int32_t* ints() const { return static_cast<const int32_t*>(data); }
    size_t size() const;
};

// What a node is made of, while its session is created.
class NodeInfo {
public:
    NodeInfo(const OrtApi& api, const OrtKernelInfo* info) : api(api), info_(info) {}

    int64_t integer(const char* name) const;
    float number(const char* name) const;
    std::string text(const char* name) const;
    // A constant input; without data where it is left out. Throws where it is not constant.
    Tensor constant(size_t index) const;

    const OrtApi& api;

private:
    const OrtKernelInfo* info_;
};

// One call of a node.
class Call {
public:
    Call(const OrtApi& api, OrtKernelContext* context) : api_(api), context_(context) {}

    // Throws where the type is another.
    Tensor input(size_t index, OrtElementType type) const;
    Tensor optional_input(size_t index, OrtElementType type) const;
    float* output(size_t index, const std::vector<int64_t>& shape) const;

    // Call `work(index)` for each index below `count`, on ONNX Runtime's own threads.
    template <class Work>
    void parallel(size_t count, const Work& work) const {
        if (count == 1) return work(0);
        run(count, [](void* data, size_t index) { (*static_cast<const Work*>(data))(index); }, const_cast<Work*>(&work));
    }

private:
    void run(size_t count, void (*work)(void*, size_t), void* data) const;

    const OrtApi& api_;
    OrtKernelContext* context_;
};

// Throws std::invalid_argument with the words given.
void require(bool holds, const char* words);
