"""The converse shape: Amazon Bedrock's Converse and ConverseStream, on the upstream's side alone.

Source: Amazon Bedrock API reference, "Converse", "ConverseStream"; the service model of botocore 1.44, `bedrock-runtime/2023-09-30`.
"""
