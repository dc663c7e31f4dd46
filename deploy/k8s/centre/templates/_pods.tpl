{{/* What every pod has: restricted Pod Security, no token, no variables about other Services. */}}

{{/* (dict "root" . "uid" 10001) */}}
{{- define "imaging.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .uid }}
  runAsGroup: {{ .uid }}
  fsGroup: {{ .uid }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* (dict "writable" false): a container's; "writable" is for servers of the evaluation that were not made for it. */}}
{{- define "imaging.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: {{ not .writable }}
  capabilities:
    drop: [ALL]
{{- end -}}

{{/* A map of names and values as a container's `env`, sorted by name. */}}
{{- define "imaging.env" -}}
{{- range $name, $value := . }}
- name: {{ $name }}
  value: {{ include "imaging.text" $value | quote }}
{{- end }}
{{- end -}}

{{/* Evaluation only, where servers start at the same time: waits for them and their set-up, so that services need no restarts. */}}
{{- define "imaging.waitForServers" -}}
{{- $arguments := dict
      "kafka" (printf "tcp:%s" (include "imaging.kafkaBootstrap" .root))
      "mongodb" (printf "mongodb:/run/secrets/%s_mongo_url" (.service | replace "-" "_"))
      "objects" (printf "tcp:%s" (include "imaging.minioEndpoint" .root))
      "oidc" (printf "oidc:%s" (include "imaging.oidcIssuer" .root))
-}}
- name: wait-for-servers
  image: {{ include "imaging.image" (list .root .service) }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  command:
    - python
    - -c
    - {{ .root.Files.Get "files/wait_for_servers.py" | quote }}
  args:
    {{- range (index (include "imaging.plan" .root | fromYaml) .service).servers }}
    - {{ index $arguments . }}
    {{- end }}
  {{- include "imaging.containerSecurity" (dict "writable" false) | nindent 2 }}
  resources:
    requests: {cpu: 5m, memory: 32Mi}
    limits: {memory: 128Mi}
  volumeMounts:
    - {name: secrets, mountPath: /run/secrets, readOnly: true}
{{- end -}}

{{/* The authority of Kafka's certificate, where it is not a public one: of `kafka.caSecret`, key `ca.crt`. */}}
{{- define "imaging.kafkaCaMount" -}}
{{- if .Values.kafka.caSecret }}
- {name: kafka-ca, mountPath: /etc/imaging/kafka-ca, readOnly: true}
{{- end }}
{{- end -}}

{{- define "imaging.kafkaCaVolume" -}}
{{- if .Values.kafka.caSecret }}
- name: kafka-ca
  secret:
    secretName: {{ .Values.kafka.caSecret }}
    items: [{key: ca.crt, path: ca.crt}]
{{- end }}
{{- end -}}
