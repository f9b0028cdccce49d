"""Every field of a gemini request. Sources: the types of google-genai 3.6.1; Google, "Generating content"; Vertex AI's discovery document.

The model and whether to stream are in the path, so that there is no field of either.
"""

from __future__ import annotations

from typing import Any

from ..specimens import PDF, PNG, SCHEMA, Specimen, Specimens

_FUNCTION: dict[str, Any] = {"name": "weather", "description": "d", "parametersJsonSchema": SCHEMA}
_CLASSIC = {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}, "required": ["city"]}
_TOOLS: dict[str, Any] = {"tools": [{"functionDeclarations": [_FUNCTION]}]}
_CALL: dict[str, Any] = {"id": "c1", "name": "weather", "args": {"city": "Ulm"}}
_JSON = "application/json"


def _turn(role: str, *parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": role, "parts": [*parts]}


_HI = _turn("user", {"text": "Hi"})
_GO = _turn("user", {"text": "Go on"})


def _part(part: dict[str, Any]) -> Specimen:
    return Specimen({"contents": [_turn("user", {"text": "Look"}, part)]})


def _model(*parts: dict[str, Any]) -> Specimen:
    return Specimen({"contents": [_HI, _turn("model", *parts), _GO]})


def _called(signature: dict[str, Any] | None = None, **more: Any) -> Specimen:
    """A call and its result. signature: beside the call. more: of the result."""
    called = _turn("model", {"functionCall": _CALL, **(signature or {})})
    result = _turn("user", {"functionResponse": {"id": "c1", "name": "weather", "response": {"output": "Rain"}, **more}})
    return Specimen({"contents": [_HI, called, result]}, _TOOLS)


def _declared(**more: Any) -> Specimen:
    return Specimen({"tools": [{"functionDeclarations": [_FUNCTION | more]}]}, _TOOLS)


def _tool(name: str, **options: Any) -> Specimen:
    return Specimen({"tools": [{name: options}]})


def _choice(mode: str, **more: Any) -> Specimen:
    return Specimen({"toolConfig": {"functionCallingConfig": {"mode": mode, **more}}}, _TOOLS)


def _config(**members: Any) -> Specimen:
    return Specimen({"generationConfig": members})


def _thinking(**members: Any) -> Specimen:
    return _config(thinkingConfig=members)


SPECIMENS = Specimens(
    {"contents": [_HI]},
    {
        "systemInstruction": Specimen({"systemInstruction": {"parts": [{"text": "Be brief."}]}}),
        "contents[].parts[].inlineData (image)": _part({"inlineData": {"mimeType": "image/png", "data": PNG}}),
        "contents[].parts[].inlineData (pdf)": _part({"inlineData": {"mimeType": "application/pdf", "data": PDF}}),
        "contents[].parts[].inlineData (text)": _part({"inlineData": {"mimeType": "text/plain", "data": "aGVsbG8="}}),
        "contents[].parts[].inlineData (audio)": _part({"inlineData": {"mimeType": "audio/wav", "data": "UklGRg=="}}),
        "contents[].parts[].inlineData (video)": _part({"inlineData": {"mimeType": "video/mp4", "data": "UklGRg=="}}),
        "contents[].parts[].fileData (image)": _part({"fileData": {"mimeType": "image/png", "fileUri": "https://example.com/a.png"}}),
        "contents[].parts[].fileData (pdf)": _part({"fileData": {"mimeType": "application/pdf", "fileUri": "https://example.com/a.pdf"}}),
        "contents[].parts[].fileData (Google's)": _part({"fileData": {"mimeType": "image/png", "fileUri": "gs://bucket/a.png"}}),
        "contents[].parts[].videoMetadata": _part({"text": "a", "videoMetadata": {"fps": 1}}),
        "contents[].parts[].mediaResolution": _part(
            {"inlineData": {"mimeType": "image/png", "data": PNG}, "mediaResolution": {"level": "MEDIA_RESOLUTION_LOW"}}
        ),
        "contents[].parts[].functionCall, functionResponse": _called(),
        "contents[].parts[].functionCall.thoughtSignature": _called({"thoughtSignature": "AAAA"}),
        "contents[].parts[].functionResponse.response.error": _called(response={"error": "No such city"}),
        "contents[].parts[].functionResponse.parts": _called(parts=[{"inlineData": {"mimeType": "image/png", "data": PNG}}]),
        "contents[].parts[].functionResponse.willContinue": _called(willContinue=True),
        "contents[].parts[].functionResponse.scheduling": _called(scheduling="SILENT"),
        "contents[].parts[].thought": _model({"text": "I look.", "thought": True}, {"text": "See"}),
        "contents[].parts[].text.thoughtSignature": _model({"text": "See", "thoughtSignature": "AAAA"}),
        "contents[].parts[].executableCode": _model(
            {"executableCode": {"language": "PYTHON", "code": "1"}},
            {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}},
        ),
        "contents (last one of the model)": Specimen({"contents": [_HI, _turn("model", {"text": "So"})]}),
        "tools[].functionDeclarations": Specimen(_TOOLS),
        "tools[].functionDeclarations[].parameters": Specimen(
            {"tools": [{"functionDeclarations": [{"name": "f", "parameters": _CLASSIC}]}]}
        ),
        "tools[].functionDeclarations[].response": _declared(responseJsonSchema=SCHEMA),
        "tools[].functionDeclarations[].behavior=NON_BLOCKING": _declared(behavior="NON_BLOCKING"),
        "tools[].googleSearch": _tool("googleSearch"),
        "tools[].googleSearch.timeRangeFilter": _tool(
            "googleSearch", timeRangeFilter={"startTime": "2026-01-01T00:00:00Z", "endTime": "2026-02-01T00:00:00Z"}
        ),
        "tools[].googleSearch.excludeDomains": _tool("googleSearch", excludeDomains=["example.com"]),
        "tools[].googleSearchRetrieval": _tool("googleSearchRetrieval"),
        "tools[].enterpriseWebSearch": _tool("enterpriseWebSearch"),
        "tools[].urlContext": _tool("urlContext"),
        "tools[].codeExecution": _tool("codeExecution"),
        "tools[].googleMaps": _tool("googleMaps"),
        "tools[].computerUse": _tool("computerUse", environment="ENVIRONMENT_BROWSER"),
        "tools[].fileSearch": _tool("fileSearch", fileSearchStoreNames=["fileSearchStores/s"]),
        "tools[].mcpServers": Specimen({"tools": [{"mcpServers": [{"name": "n"}]}]}),
        "tools[].retrieval": _tool("retrieval", vertexAiSearch={"engine": "e"}),
        "toolConfig.functionCallingConfig.mode=ANY": _choice("ANY"),
        "toolConfig.functionCallingConfig.mode=NONE": _choice("NONE"),
        "toolConfig.functionCallingConfig.mode=VALIDATED": _choice("VALIDATED"),
        "toolConfig.functionCallingConfig.allowedFunctionNames": _choice("ANY", allowedFunctionNames=["weather"]),
        "toolConfig.functionCallingConfig.streamFunctionCallArguments": _choice("AUTO", streamFunctionCallArguments=True),
        "toolConfig.retrievalConfig": Specimen({"toolConfig": {"retrievalConfig": {"languageCode": "de"}}}),
        "toolConfig.includeServerSideToolInvocations": Specimen({"toolConfig": {"includeServerSideToolInvocations": True}}, _TOOLS),
        "safetySettings": Specimen({"safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]}),
        "generationConfig.maxOutputTokens": _config(maxOutputTokens=100),
        "generationConfig.temperature": _config(temperature=0.5),
        "generationConfig.topP": _config(topP=0.9),
        "generationConfig.topK": _config(topK=5),
        "generationConfig.candidateCount": _config(candidateCount=2),
        "generationConfig.stopSequences": _config(stopSequences=["a"]),
        "generationConfig.seed": _config(seed=7),
        "generationConfig.presencePenalty": _config(presencePenalty=0.1),
        "generationConfig.frequencyPenalty": _config(frequencyPenalty=0.1),
        "generationConfig.responseLogprobs": _config(responseLogprobs=True),
        "generationConfig.logprobs": Specimen(
            {"generationConfig": {"responseLogprobs": True, "logprobs": 2}}, {"generationConfig": {"responseLogprobs": True}}
        ),
        "generationConfig.responseMimeType=application/json": _config(responseMimeType=_JSON),
        "generationConfig.responseMimeType=text/x.enum": _config(
            responseMimeType="text/x.enum", responseSchema={"type": "STRING", "enum": ["a", "b"]}
        ),
        "generationConfig.responseSchema": _config(responseMimeType=_JSON, responseSchema=_CLASSIC),
        "generationConfig.responseJsonSchema": _config(responseMimeType=_JSON, responseJsonSchema=SCHEMA),
        "generationConfig.responseFormat": _config(responseFormat={"text": {"mimeType": _JSON, "schema": SCHEMA}}),
        "generationConfig.responseModalities=IMAGE": _config(responseModalities=["TEXT", "IMAGE"]),
        "generationConfig.thinkingConfig.includeThoughts": _thinking(includeThoughts=True),
        "generationConfig.thinkingConfig.thinkingBudget": _thinking(thinkingBudget=2048),
        "generationConfig.thinkingConfig.thinkingBudget=-1": _thinking(thinkingBudget=-1),
        "generationConfig.thinkingConfig.thinkingBudget=0": _thinking(thinkingBudget=0),
        "generationConfig.thinkingConfig.thinkingLevel=MINIMAL": _thinking(thinkingLevel="MINIMAL"),
        "generationConfig.thinkingConfig.thinkingLevel=LOW": _thinking(thinkingLevel="LOW"),
        "generationConfig.thinkingConfig.thinkingLevel=HIGH": _thinking(thinkingLevel="HIGH"),
        "generationConfig.thinkingConfig.thinkingLevel=XHIGH": _thinking(thinkingLevel="XHIGH"),
        "generationConfig.mediaResolution": _config(mediaResolution="MEDIA_RESOLUTION_LOW"),
        "generationConfig.speechConfig": _config(speechConfig={"languageCode": "de"}),
        "generationConfig.imageConfig": _config(imageConfig={"aspectRatio": "1:1"}),
        "generationConfig.audioTimestamp": _config(audioTimestamp=True),
        "generationConfig.routingConfig": _config(routingConfig={"autoMode": {"modelRoutingPreference": "BALANCED"}}),
        "generationConfig.modelConfig": _config(modelConfig={"featureSelectionPreference": "BALANCED"}),
        "generationConfig.modelSelectionConfig": _config(modelSelectionConfig={"featureSelectionPreference": "BALANCED"}),
        "generationConfig.enableEnhancedCivicAnswers": _config(enableEnhancedCivicAnswers=True),
        "generationConfig.enableAffectiveDialog": _config(enableAffectiveDialog=True),
        "cachedContent": Specimen({"cachedContent": "cachedContents/c"}),
        "continuationToken": Specimen({"continuationToken": "t"}),
        "labels": Specimen({"labels": {"team": "a"}}),
        "serviceTier=standard": Specimen({"serviceTier": "standard"}),
        "serviceTier=flex": Specimen({"serviceTier": "flex"}),
        "serviceTier=priority": Specimen({"serviceTier": "priority"}),
        "store": Specimen({"store": True}),
        "modelArmorConfig": Specimen({"modelArmorConfig": {"promptTemplateName": "t"}}),
        "outputConfig": Specimen({"outputConfig": {"gcsDestination": {"outputUriPrefix": "gs://b"}}}),
    },
)
