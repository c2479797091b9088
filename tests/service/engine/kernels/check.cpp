// check [ROUNDS] [NAME...]: every kernel of this processor, or those named, against plain arithmetic. More rounds check
// more random cases; 0 checks the fewest.
// Prints what was checked, and each failure in one line; ends with 1 where there was one.
#include <cstdlib>

#include "instruction_sets.h"
#include "report.h"

#if defined(__x86_64__)
extern const Kernels AMX_MODEL;
#endif

int main(int count, char** arguments) {
    std::vector<const Kernels*> known;
    for (const Kernels* kernels : all_kernels()) known.push_back(kernels);
#if defined(__x86_64__)
    known.push_back(&AMX_MODEL);
#endif
    AllKernels chosen;
    std::string names;
    for (const Kernels* kernels : known) {
        bool wanted = count < 3;
        for (int i = 2; i < count; ++i) wanted |= kernels->name == std::string(arguments[i]);
        if (!wanted || !kernels->supported()) continue;
        chosen.push_back(kernels);
        names += (names.empty() ? "" : ", ") + std::string(kernels->title);
    }
    if (chosen.empty()) {
        std::printf("this processor has none of the instruction sets asked for\n");
        return 2;
    }
    const size_t rounds = count > 1 ? std::strtoul(arguments[1], nullptr, 10) : 1;
    Report report;
    check_products(chosen, rounds, report);
    check_rows(chosen, rounds, report);
    check_attention(chosen, rounds, report);
    std::printf("%s: %zu checks, %zu failed\n", names.c_str(), report.checked, report.failed);
    return report.failed != 0;
}
