// What the shared library offers to ONNX Runtime and to Python.
#include <mutex>
#include <string>

#include "attention_nodes.h"
#include "instruction_sets.h"
#include "linear.h"
#include "operator.h"

#define EXPORTED extern "C" __attribute__((visibility("default")))

namespace {
constexpr const char* DOMAIN_NAME = "chatbot";
}

// ONNX Runtime calls this for each session that is given the library.
EXPORTED OrtStatus* RegisterCustomOps(OrtSessionOptions* options, const OrtApiBase* base) {
    static Operator<Linear> linear;
    static Operator<SelfAttention> self_attention;
    static Operator<CrossAttention> cross_attention;
    const OrtApi* const api = base->GetApi(ORT_API_VERSION);
    if (!api) return nullptr;  // older than every version that is supported: the session then says that it lacks operators
    static std::mutex mutex;
    static OrtCustomOpDomain* domain = nullptr;
    const std::lock_guard<std::mutex> lock(mutex);
    OrtStatus* status = nullptr;
    if (!domain) {
        status = api->entry<OrtStatus*(const char*, OrtCustomOpDomain**)>(26)(DOMAIN_NAME, &domain);
        for (OrtCustomOp* op : {static_cast<OrtCustomOp*>(&linear), static_cast<OrtCustomOp*>(&self_attention), static_cast<OrtCustomOp*>(&cross_attention)})
            if (!status) status = api->entry<OrtStatus*(OrtCustomOpDomain*, const OrtCustomOp*)>(27)(domain, op);
    }
    if (!status) status = api->entry<OrtStatus*(OrtSessionOptions*, OrtCustomOpDomain*)>(28)(options, domain);
    return status;
}

// The instruction sets of this processor, fastest first: names and titles by turns, each ended by a line feed.
EXPORTED const char* instruction_sets() {
    static const std::string list = [] {
        std::string lines;
        for (const Kernels* kernels : all_kernels())
            if (kernels->supported()) lines += std::string(kernels->name) + "\n" + kernels->title + "\n";
        return lines;
    }();
    return list.c_str();
}
