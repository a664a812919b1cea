# cmake -DINPUT=file -DOUTPUT=file.cc -DHEADER=x/y.h -DNAMESPACE=tocsin::x -DFUNCTION=Name -P EmbedText.cmake
# A text file (ASCII) as C++: the function that HEADER declares as std::string_view Name().
file(READ "${INPUT}" content)
if(content MATCHES "\\)EMBEDDED\"")
  message(FATAL_ERROR "${INPUT} holds the end mark of the raw string that it would stand in")
endif()
set(text "// Written by cmake/EmbedText.cmake.\n#include \"${HEADER}\"\n\n#include <string>\n\n")
string(APPEND text "namespace ${NAMESPACE} {\n\nstd::string_view ${FUNCTION}() {\n")
string(APPEND text "  static const auto* const text = new std::string([] {\n    std::string all;\n")
# In pieces: compilers must take no literal that is longer than 65,536 bytes.
string(LENGTH "${content}" length)
set(at 0)
while(at LESS length)
  string(SUBSTRING "${content}" ${at} 30000 piece)
  string(APPEND text "    all += R\"EMBEDDED(${piece})EMBEDDED\";\n")
  math(EXPR at "${at} + 30000")
endwhile()
string(APPEND text "    return all;\n  }());\n  return *text;\n}\n\n}  // namespace ${NAMESPACE}\n")
file(WRITE "${OUTPUT}" "${text}")
