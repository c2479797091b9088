#include "tensors.h"

namespace {

using GetErrorMessage = const char*(const OrtStatus*);
using ReleaseStatus = void(OrtStatus*);
using GetTensorMutableData = OrtStatus*(OrtValue*, void**);
using GetTensorTypeAndShape = OrtStatus*(const OrtValue*, OrtTensorTypeAndShapeInfo**);
using GetTensorElementType = OrtStatus*(const OrtTensorTypeAndShapeInfo*, OrtElementType*);
using GetDimensionsCount = OrtStatus*(const OrtTensorTypeAndShapeInfo*, size_t*);
using GetDimensions = OrtStatus*(const OrtTensorTypeAndShapeInfo*, int64_t*, size_t);
using ReleaseTypeAndShape = void(OrtTensorTypeAndShapeInfo*);
using GetFloatAttribute = OrtStatus*(const OrtKernelInfo*, const char*, float*);
using GetIntAttribute = OrtStatus*(const OrtKernelInfo*, const char*, int64_t*);
using GetTextAttribute = OrtStatus*(const OrtKernelInfo*, const char*, char*, size_t*);
using GetConstantInput = OrtStatus*(const OrtKernelInfo*, size_t, int*, const OrtValue**);
using GetInputCount = OrtStatus*(const OrtKernelInfo*, size_t*);
using GetInput = OrtStatus*(const OrtKernelContext*, size_t, const OrtValue**);
using GetOutput = OrtStatus*(OrtKernelContext*, size_t, const int64_t*, size_t, OrtValue**);
using ParallelFor = OrtStatus*(const OrtKernelContext*, void (*)(void*, size_t), size_t, size_t, void*);

Tensor read(const OrtApi& api, const OrtValue* value) {
    Tensor tensor;
    OrtTensorTypeAndShapeInfo* info = nullptr;
    check(api, api.entry<GetTensorTypeAndShape>(65)(value, &info));
    size_t dimensions = 0;
    OrtStatus* status = api.entry<GetTensorElementType>(60)(info, &tensor.type);
    if (!status) status = api.entry<GetDimensionsCount>(61)(info, &dimensions);
    tensor.shape.resize(dimensions);
    if (!status) status = api.entry<GetDimensions>(62)(info, tensor.shape.data(), dimensions);
    api.entry<ReleaseTypeAndShape>(99)(info);
    check(api, status);
    void* data = nullptr;
    check(api, api.entry<GetTensorMutableData>(51)(const_cast<OrtValue*>(value), &data));
    tensor.data = data;
    return tensor;
}

}  // namespace

void check(const OrtApi& api, OrtStatus* status) {
    if (!status) return;
    const std::string words = api.entry<GetErrorMessage>(2)(status);
    api.entry<ReleaseStatus>(93)(status);
    throw std::runtime_error(words);
}

void require(bool holds, const char* words) {
    if (!holds) throw std::invalid_argument(words);
}

size_t Tensor::size() const {
    size_t product = 1;
    for (int64_t length : shape) product *= static_cast<size_t>(length);
    return product;
}

int64_t NodeInfo::integer(const char* name) const {
    int64_t value = 0;
    check(api, api.entry<GetIntAttribute>(86)(info_, name, &value));
    return value;
}

float NodeInfo::number(const char* name) const {
    float value = 0;
    check(api, api.entry<GetFloatAttribute>(85)(info_, name, &value));
    return value;
}

std::string NodeInfo::text(const char* name) const {
    size_t size = 0;
    check(api, api.entry<GetTextAttribute>(87)(info_, name, nullptr, &size));
    std::string value(size, '\0');
    check(api, api.entry<GetTextAttribute>(87)(info_, name, value.data(), &size));
    value.resize(size ? size - 1 : 0);
    return value;
}

Tensor NodeInfo::constant(size_t index) const {
    size_t count = 0;
    check(api, api.entry<GetInputCount>(230)(info_, &count));
    if (index >= count) return {};
    int constant = 0;
    const OrtValue* value = nullptr;
    check(api, api.entry<GetConstantInput>(249)(info_, index, &constant, &value));
    return constant && value ? read(api, value) : Tensor{};
}

Tensor Call::optional_input(size_t index, OrtElementType type) const {
    size_t count = 0;
    check(api_, api_.entry<OrtStatus*(const OrtKernelContext*, size_t*)>(88)(context_, &count));
    if (index >= count) return {};
    const OrtValue* value = nullptr;
    check(api_, api_.entry<GetInput>(90)(context_, index, &value));
    if (!value) return {};
    Tensor tensor = read(api_, value);
    require(tensor.type == type, "an input has another type");
    return tensor;
}

Tensor Call::input(size_t index, OrtElementType type) const {
    Tensor tensor = optional_input(index, type);
    require(!tensor.shape.empty(), "an input is missing");
    return tensor;
}

float* Call::output(size_t index, const std::vector<int64_t>& shape) const {
    OrtValue* value = nullptr;
    check(api_, api_.entry<GetOutput>(91)(context_, index, shape.data(), shape.size(), &value));
    void* data = nullptr;
    check(api_, api_.entry<GetTensorMutableData>(51)(value, &data));
    return static_cast<float*>(data);
}

void Call::run(size_t count, void (*work)(void*, size_t), void* data) const {
    check(api_, api_.entry<ParallelFor>(274)(context_, work, count, count, data));
}
