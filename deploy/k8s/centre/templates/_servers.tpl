{{/* Where Kafka, MongoDB, the object store and the identity provider are: by values, or the evaluation's own. */}}

{{- define "imaging.kafkaBootstrap" -}}
{{- if .Values.evaluation.enabled -}}
{{- include "imaging.name" (list . "kafka") }}:9092
{{- else -}}
{{- required "kafka.bootstrap: name your Kafka's brokers (host:port,host:port), or set evaluation.enabled" .Values.kafka.bootstrap -}}
{{- end -}}
{{- end -}}

{{- define "imaging.minioEndpoint" -}}
{{- if .Values.evaluation.enabled -}}
{{- include "imaging.name" (list . "minio") }}:9000
{{- else -}}
{{- required "objects.endpoint: name your object store (host:port), or set evaluation.enabled" .Values.objects.endpoint -}}
{{- end -}}
{{- end -}}

{{- define "imaging.mongoHosts" -}}
{{- if .Values.evaluation.enabled -}}
{{- include "imaging.name" (list . "mongodb") }}:27017
{{- else -}}
{{- required "mongodb.hosts: name your replica set's members (host:port,host:port), or set evaluation.enabled" .Values.mongodb.hosts -}}
{{- end -}}
{{- end -}}

{{/* The identity provider's address, for browsers and services alike (evaluation). */}}
{{- define "imaging.keycloakUrl" -}}
{{- default (printf "http://%s:%v" (include "imaging.host" (list . "keycloak")) .Values.evaluation.keycloak.port) .Values.evaluation.keycloak.url -}}
{{- end -}}

{{- define "imaging.oidcIssuer" -}}
{{- if .Values.evaluation.enabled -}}
{{- include "imaging.keycloakUrl" . }}/realms/region
{{- else -}}
{{- required "oidc.issuer: name your OIDC provider's issuer (https://…), or set evaluation.enabled" .Values.oidc.issuer -}}
{{- end -}}
{{- end -}}

{{/* The portal's address, as browsers reach it. */}}
{{- define "imaging.portalUrl" -}}
{{- if .Values.portal.url -}}
{{- .Values.portal.url -}}
{{- else if .Values.ingress.enabled -}}
https://{{ .Values.ingress.host }}
{{- else if .Values.evaluation.enabled -}}
{{- /* Browsers trust names below localhost without TLS, also in an EHR's frame: kubectl port-forward brings them there. */ -}}
http://portal.localhost:8080
{{- else -}}
{{- fail "portal.url: name the portal's address as browsers reach it (https://…), or set ingress.enabled and ingress.host" -}}
{{- end -}}
{{- end -}}

{{/* (list root "gateway"): a service's HTTP address within the cluster. */}}
{{- define "imaging.url" -}}
http://{{ include "imaging.name" . }}:8080
{{- end -}}

{{/* (list root "gateway"): the address at which edge agents reach a door. */}}
{{- define "imaging.doorUrl" -}}
{{- $root := index . 0 -}}
{{- $door := index $root.Values.doors (index . 1) -}}
{{- default (printf "https://%s:8443" (include "imaging.host" .)) $door.url -}}
{{- end -}}

{{/* Kafka, as edge agents reach it. */}}
{{- define "imaging.edgeKafkaBootstrap" -}}
{{- if .Values.kafka.edgeBootstrap -}}
{{- .Values.kafka.edgeBootstrap -}}
{{- else if .Values.evaluation.enabled -}}
{{- include "imaging.host" (list . "kafka") }}:9094
{{- else -}}
{{- .Values.kafka.bootstrap -}}
{{- end -}}
{{- end -}}
