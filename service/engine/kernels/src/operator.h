// A C++ class as an operator of ONNX Runtime. `Node` has
//   static constexpr const char* NAME; INPUTS, OUTPUTS (types in order), REQUIRED_INPUTS (so many come first);
//   Node(const NodeInfo&); void compute(const Call&).
// What they throw becomes a status: nothing crosses the border.
#pragma once

#include <cstdio>
#include <exception>

#include "ort.h"
#include "tensors.h"

template <class Node>
struct Operator : OrtCustomOp {
    struct Kernel {
        const OrtApi& api;
        Node node;
    };

    Operator() : OrtCustomOp{} {
        version = ORT_API_VERSION;
        GetName = [](const OrtCustomOp*) { return Node::NAME; };
        GetExecutionProviderType = [](const OrtCustomOp*) -> const char* { return "CPUExecutionProvider"; };
        GetInputTypeCount = [](const OrtCustomOp*) { return sizeof(Node::INPUTS) / sizeof(*Node::INPUTS); };
        GetInputType = [](const OrtCustomOp*, size_t index) { return Node::INPUTS[index]; };
        GetOutputTypeCount = [](const OrtCustomOp*) { return Node::OUTPUTS; };
        GetOutputType = [](const OrtCustomOp*, size_t) { return FLOAT; };
        GetInputCharacteristic = [](const OrtCustomOp*, size_t index) { return index < Node::REQUIRED_INPUTS ? REQUIRED : OPTIONAL; };
        GetOutputCharacteristic = [](const OrtCustomOp*, size_t) { return REQUIRED; };
        GetInputMemoryType = [](const OrtCustomOp*, size_t) { return 0; };
        GetVariadicInputMinArity = GetVariadicInputHomogeneity = [](const OrtCustomOp*) { return 1; };
        GetVariadicOutputMinArity = GetVariadicOutputHomogeneity = [](const OrtCustomOp*) { return 1; };
        GetStartVersion = [](const OrtCustomOp*) { return 1; };
        GetEndVersion = [](const OrtCustomOp*) { return 1; };
        CreateKernelV2 = [](const OrtCustomOp*, const OrtApi* api, const OrtKernelInfo* info, void** kernel) {
            return guarded(*api, [&] { *kernel = new Kernel{*api, Node(NodeInfo(*api, info))}; });
        };
        KernelComputeV2 = [](void* kernel, OrtKernelContext* context) {
            Kernel& held = *static_cast<Kernel*>(kernel);
            return guarded(held.api, [&] { held.node.compute(Call(held.api, context)); });
        };
        KernelDestroy = [](void* kernel) { delete static_cast<Kernel*>(kernel); };
    }

    template <class Work>
    static OrtStatus* guarded(const OrtApi& api, const Work& work) {
        auto* status = api.entry<OrtStatus*(OrtErrorCode, const char*)>(0);
        try {
            work();
            return nullptr;
        } catch (const std::exception& error) {
            char words[512];  // a string could throw again
            std::snprintf(words, sizeof words, "%s: %s", Node::NAME, error.what());
            return status(RUNTIME_EXCEPTION, words);
        } catch (...) {
            return status(RUNTIME_EXCEPTION, Node::NAME);
        }
    }
};
