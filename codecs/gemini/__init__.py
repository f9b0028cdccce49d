"""The gemini shape: Google's generateContent, of the Gemini API and of Vertex AI, on the client's and on the upstream's side.

Source: the types of google-genai 3.6.1 and @google/genai 2.32.0, the protos of google-ai-generativelanguage 0.12.1, and the discovery
documents of aiplatform v1 and v1beta1, revision 20261106.
"""
