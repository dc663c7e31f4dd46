{{/* Names and labels. */}}

{{- define "imaging.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* (list root "gateway"): the name of a component's objects; also its DNS name within the namespace. */}}
{{- define "imaging.name" -}}
{{- printf "%s-%s" (include "imaging.fullname" (index . 0)) (index . 1) -}}
{{- end -}}

{{/* (list root "gateway"): a component's DNS name within the cluster. */}}
{{- define "imaging.host" -}}
{{- $root := index . 0 -}}
{{- printf "%s.%s.svc.%s" (include "imaging.name" .) $root.Release.Namespace $root.Values.clusterDomain -}}
{{- end -}}

{{/* (list root "gateway"): what selectors look at. */}}
{{- define "imaging.selector" -}}
app.kubernetes.io/name: {{ index . 1 }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
{{- end -}}

{{/* (list root "gateway"): the labels of every object. */}}
{{- define "imaging.labels" -}}
{{- $root := index . 0 -}}
{{ include "imaging.selector" . }}
app.kubernetes.io/part-of: imaging-cloud
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
{{- end -}}

{{/* (list root "gateway"): the image of one of the region's own programs. */}}
{{- define "imaging.image" -}}
{{- $root := index . 0 -}}
{{- printf "%s/%s:%s" $root.Values.image.prefix (index . 1) (default $root.Chart.AppVersion $root.Values.image.tag) -}}
{{- end -}}

{{/* (list root "gateway"): the Secret of a component, given or generated. */}}
{{- define "imaging.secret" -}}
{{- $root := index . 0 -}}
{{- printf "%s-%s" (default (include "imaging.fullname" $root) $root.Values.secrets.prefix) (index . 1) -}}
{{- end -}}
