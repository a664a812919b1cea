# cmake -DINPUT=file -DOUTPUT=file.cc -DHEADER=x/y.h -DNAMESPACE=tocsin::x -DFUNCTION=Name -P EmbedText.cmake
# A text file as C++: the function that HEADER declares as std::string_view Name().
file(READ "${INPUT}" content)
if(content MATCHES "\\)EMBEDDED\"")
  message(FATAL_ERROR "${INPUT} holds the end mark of the raw string that it would stand in")
endif()
set(text "// Written by cmake/EmbedText.cmake.\n#include \"${HEADER}\"\n\nnamespace ${NAMESPACE} {\n\n")
string(APPEND text "std::string_view ${FUNCTION}() {\n  return R\"EMBEDDED(${content})EMBEDDED\";\n}\n\n")
string(APPEND text "}  // namespace ${NAMESPACE}\n")
file(WRITE "${OUTPUT}" "${text}")
