{{/*
Who talks to whom: the table of docs/architecture.md, from which settings, Secrets and NetworkPolicies are made.
servers: kafka, mongodb, objects (S3), oidc. calls: other services, over HTTP. door: has a TLS port for edge agents.
*/}}
{{- define "imaging.plan" -}}
gateway:
  servers: [kafka, mongodb, objects, oidc]
  calls: [consult, notification, audit, dicom-ingest]
  door: true
dicom-ingest:
  servers: [kafka, objects, oidc]
  calls: []
  door: true
object-writer:
  servers: [kafka, mongodb, objects]
  calls: []
indexer:
  servers: [kafka, mongodb, objects]
  calls: []
consult:
  servers: [kafka, mongodb, oidc]
  calls: [gateway, dicom-ingest]
  directoryClient: consult-service
notification:
  servers: [kafka, mongodb, oidc]
  calls: []
  directoryClient: notification-service
audit:
  servers: [kafka, mongodb, objects, oidc]
  calls: []
{{- end -}}
